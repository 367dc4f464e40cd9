/** The scripts by which containers of docker-compose.scale.yml start, with stand-ins for what they start. */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'modelgate-scale-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  for (const name of ['bin', 'etc/conf.d', 'tmp']) mkdirSync(join(directory, name), { recursive: true });
  // the end of the script is that of its process group: nothing watches addresses any more
  standIn('nginx', 'echo started; trap "" TERM; kill 0');
  standIn('getent', 'echo "10.0.0.1 STREAM modelgate"');
  standIn('pgbouncer', 'echo started');
  writeFileSync(join(directory, 'etc/nginx.conf'), 'include /etc/nginx/conf.d/*.conf;');
  writeFileSync(join(directory, 'etc/conf.d/default.conf'), 'server modelgate:8080 max_fails=0;');
});

function standIn(name: string, script: string): void {
  writeFileSync(join(directory, 'bin', name), `#!/bin/sh\n${script}\n`);
  chmodSync(join(directory, 'bin', name), 0o755);
}

/** As in a container whose /tmp and /etc/nginx are folders of the test, in a session of its own. */
function run(script: string, env: Record<string, string> = {}) {
  const text = readFileSync(join(ROOT, script), 'utf8')
    .replaceAll(/(?<=[ "])\/tmp\//g, `${directory}/tmp/`)
    .replaceAll(/(?<=[ "])\/etc\/nginx\//g, `${directory}/etc/`);
  const { stdout, stderr, status } = spawnSync('setsid', ['--wait', 'sh', '-c', text], {
    encoding: 'utf8',
    timeout: 10_000,
    env: { PATH: `${join(directory, 'bin')}:${process.env['PATH'] ?? ''}`, ...env },
  });
  return { stdout, stderr, status };
}

describe('nginx/several-gates.sh', () => {
  const start = () => run('nginx/several-gates.sh');
  const written = () => join(directory, 'tmp/conf.d');

  test('starts nginx with a line for each gate, also where the container was restarted', () => {
    writeFileSync(join(directory, 'etc/conf.d/gone.conf'), '');
    expect(start()).toMatchObject({ stdout: 'started\n', stderr: '' });
    rmSync(join(directory, 'etc/conf.d/gone.conf'));
    expect(start()).toMatchObject({ stdout: 'started\n', stderr: '' });
    expect(readdirSync(written())).toEqual(['default.conf']);
    expect(readFileSync(join(written(), 'default.conf'), 'utf8')).toContain('server 10.0.0.1:8080 max_fails=0;');
  });

  test('says what it waits for while no gate has an address', () => {
    standIn('getent', `[ -e ${directory}/asked ] && echo "10.0.0.1 STREAM modelgate"; touch ${directory}/asked`);
    const { stdout, stderr } = start();
    expect(stdout).toBe('started\n');
    expect(stderr).toMatch(/^several-gates\.sh: no gate is known by the name modelgate yet[^\n]+\n$/);
  });
});

describe('config/scale/pgbouncer.sh', () => {
  const start = (OPENWEBUI_DATABASE_PASSWORD: string) =>
    run('config/scale/pgbouncer.sh', { OPENWEBUI_DATABASE_PASSWORD, GATE_DATABASE_PASSWORD: 'b'.repeat(64) });

  test('takes passwords of letters and digits', () => {
    expect(start('aZ0-._~')).toMatchObject({ stdout: 'started\n', stderr: '', status: 0 });
    expect(readFileSync(join(directory, 'tmp/users.txt'), 'utf8')).toContain('"openwebui" "aZ0-._~"\n');
  });

  test.each(Array.from('"\\$%@#/?:&\' \n'))('refuses one with %j in one sentence, and does not show it', (sign) => {
    const { stdout, stderr, status } = start(`a-secret${sign}word`);
    expect([stdout, status]).toEqual(['', 1]);
    expect(stderr).toMatch(
      /^OPENWEBUI_DATABASE_PASSWORD or GATE_DATABASE_PASSWORD has a character .*\\password modelgate\.\n$/,
    );
    expect(stderr).not.toContain('a-secret');
  });
});
