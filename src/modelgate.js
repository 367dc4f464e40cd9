#!/usr/bin/env node
/**
 * The executable. On a Node that cannot read TypeScript it says so in one sentence, so it is JavaScript itself;
 * everything is in `main.ts`.
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
