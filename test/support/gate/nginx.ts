/** Debian's nginx as the reverse proxy in front of the gate, with the fewest settings that this takes. */
import { startNginxProcess } from './nginx-process.ts';

export interface Nginx extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
}

/**
 * @param origin of the gate
 * @param lines directives that come on top, for what goes to the gate
 * @param outside the same outside of the server
 * @throws Error that names the Debian package where there is no nginx
 */
export async function startNginx(origin: string, lines: readonly string[] = [], outside = ''): Promise<Nginx> {
  const nginx = await startNginxProcess({
    ports: 1,
    write: ({ ports: [port = 0] }) => configuration(origin, lines, outside, port),
    ready: { path: '/nginx-itself', text: 'nginx' },
  });
  const [port = 0] = nginx.ports;
  return { url: `http://127.0.0.1:${port}`, port, [Symbol.asyncDispose]: () => nginx[Symbol.asyncDispose]() };
}

function configuration(origin: string, lines: readonly string[], outside: string, port: number): string {
  return `
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  ${outside}
  server {
    listen 127.0.0.1:${port};
    location = /nginx-itself { return 200 nginx; }
    location / {
      proxy_pass ${origin};
      ${lines.join('\n      ')}
      proxy_http_version 1.1;
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
    }
  }
`;
}
