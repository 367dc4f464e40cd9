#!/usr/bin/env node
/**
 * The executable: tells whoever runs it on a Node that cannot read TypeScript so in one sentence. It is JavaScript
 * because nothing else would be read there; everything is in `main.ts`.
 */
const OLDEST = [22, 18];
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])) {
  process.stderr.write(
    `modelgate: this is Node ${process.versions.node}, but Node ${OLDEST.join('.')} or later is needed, 26 at best. ` +
      'In a checkout, `npm start` and `npm run demo` bring their own.\n',
  );
  process.exit(2);
}
await import('./main.ts');
