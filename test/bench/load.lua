-- One request again and again, or the same request as one user after the other (TOKENS: a file, one token a line; FIELD: the
-- header field that a token is the value of, `Authorization` where there is none).
local field = os.getenv('FIELD')
local before = field and '' or 'Bearer '
local tokens = {}
local requests = {}
local at = 0

function init()
  wrk.method = os.getenv('METHOD')
  wrk.body = os.getenv('BODY')
  wrk.headers['Accept'] = 'application/json'
  wrk.headers['Accept-Encoding'] = 'gzip, deflate'
  wrk.headers['User-Agent'] = 'OpenAI/JS 7.57.0'
  if wrk.body then wrk.headers['Content-Type'] = 'application/json' end
  for name, value in (os.getenv('HEADERS') or ''):gmatch('([^=\n]+)=([^\n]*)\n') do wrk.headers[name] = value end
  for token in io.lines(os.getenv('TOKENS')) do tokens[#tokens + 1] = token end
  if #tokens == 1 then
    wrk.headers[field or 'Authorization'] = before .. tokens[1]
    requests[1] = wrk.format()
  end
end

function request()
  if #tokens == 1 then return requests[1] end
  at = at % #tokens + 1
  wrk.headers[field or 'Authorization'] = before .. tokens[at]
  return wrk.format()
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format('{"requests":%d,"seconds":%.6f,"failed":%d,"p50Ms":%.3f,"p99Ms":%.3f}\n',
    summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
