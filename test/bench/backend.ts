/** nginx in the backend's place: fixed answers, and no bottleneck. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts } from '../support/process/ports.ts';
import { MEASURING_CORE, startPinned, type PinnedProcess } from './pinned-process.ts';

export const COMPLETION = JSON.stringify({
  id: 'chatcmpl-7f0c',
  object: 'chat.completion',
  created: 1_763_900_000,
  model: 'provider/model-007',
  choices: [{ index: 0, message: { role: 'assistant', content: 'Hello! How can I help?' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 9, completion_tokens: 7, total_tokens: 16 },
});

/** @param modelList the body of `/api/models` */
export async function startBackend(modelList: string): Promise<PinnedProcess> {
  const directory = mkdtempSync(join(tmpdir(), 'modelgate-bench-'));
  const [port = 0] = await freePorts(1);
  mkdirSync(join(directory, 'api'));
  writeFileSync(join(directory, 'api', 'models'), modelList);
  writeFileSync(join(directory, 'nginx.conf'), configuration(directory, port));
  const url = `http://127.0.0.1:${port}`;
  const nginx = await startPinned({
    program: 'nginx',
    words: ['-p', directory, '-c', join(directory, 'nginx.conf'), '-e', 'stderr'],
    environment: { PATH: `${process.env['PATH'] ?? ''}:/usr/sbin` },
    core: MEASURING_CORE,
    url,
    probe: `${url}/health`,
  });
  const stop = async (): Promise<void> => {
    await nginx.stop();
    rmSync(directory, { recursive: true, force: true });
  };
  return { ...nginx, stop, [Symbol.asyncDispose]: stop };
}

const configuration = (directory: string, port: number): string => `
daemon off;
master_process off;
pid ${directory}/nginx.pid;
error_log stderr error;
worker_rlimit_nofile 8192;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  sendfile on;
  tcp_nopush on;
  default_type application/json;
  client_body_temp_path ${directory}/body;
  client_max_body_size 0;
  proxy_temp_path ${directory}/proxy;
  fastcgi_temp_path ${directory}/fastcgi;
  uwsgi_temp_path ${directory}/uwsgi;
  scgi_temp_path ${directory}/scgi;
  server {
    listen 127.0.0.1:${port};
    root ${directory};
    open_file_cache max=10;
    location = /api/config { return 200 '{"status":true,"name":"Open WebUI","default_models":null}'; }
    location = /health { return 200 '{"status":true}'; }
    location = /api/chat/completions { return 200 '${COMPLETION}'; }
  }
}
`;
