import { startTenants } from './tenants.ts';
import { send } from './backend-client.ts';
const t = await startTenants({ version: process.argv[2] as any, ollama: true });
try {
  console.log('journal', t.sql.pragma('journal_mode'));
  const counts: Record<string, number> = {};
  for (let i = 0; i < 40; i++) for (const [n, who] of [['ada', t.ada], ['ann', t.ann], ['bob', t.bob]] as const) {
    for (const url of [t.gate.url, t.backend.url]) {
      const r = await send({ ...who, url }, 'GET', '/api/models');
      const text = await r.text();
      const key = `${url === t.gate.url ? 'gate' : 'bare'} ${n} ${r.status} ${r.ok ? JSON.parse(text).data.map((m: any) => m.id).join() : text.replace(/request .*/, '')}`;
      counts[key] = (counts[key] ?? 0) + 1;
      if (r.status !== 200 || key.endsWith(' ')) console.log(i, key);
    }
  }
  console.log(counts);
  console.log(t.gate.log().split('\n').filter(l => l.includes('cannot') || l.includes('"level":"warn"') || l.includes('"level":"error"')).slice(0, 30).join('\n'));
} finally { await t.close(); }
process.exit(0);
