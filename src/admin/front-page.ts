/** What a person sees who opens the admin listener in a browser: the state in words, and the way to the rest. */
import { html } from 'hono/html';
import type { Readiness } from './readiness.ts';

/** What there is on this listener, and what for. */
export const ADMIN_PATHS = {
  '/healthz': 'the process is alive',
  '/readyz': 'whether requests can be served, and if not why',
  '/metrics': 'figures for Prometheus',
} as const;

/** @returns a page without scripts, styles or anything else to load */
export function frontPage({ version, ready, draining, mode, bypass, database, upstream, identity }: Readiness) {
  const state = ready ? 'Ready' : draining ? 'Not ready: it is shutting down' : 'Not ready';
  const enforced = mode === 'report' ? 'reporting only (MODELGATE_MODE=report)' : 'enforcing';
  const facts = [
    ['Models', bypass === null ? enforced : `everything is let through (${bypass})`],
    ['Database', database.problem ?? (database.readable ? `readable, ${database.age_ms} ms old` : 'not readable')],
    ...(database.missing.length > 0 ? [['Missing in it', database.missing.join(', ')]] : []),
    ['Sessions', identity.problem ?? 'no problem seen'],
    ['Backend', upstream.problem ?? (upstream.reachable ? 'reachable' : 'not reachable')],
  ];
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width" />
        <meta name="color-scheme" content="light dark" />
        <title>modelgate ${version}: ${state}</title>
      </head>
      <body>
        <h1>modelgate ${version}</h1>
        <p><strong>${state}</strong></p>
        <dl>
          ${facts.map(
            ([name, value]) =>
              html`<dt>${name}</dt>
                <dd>${value}</dd>`,
          )}
        </dl>
        ${ready ? '' : html`<p>What to do: run <code>modelgate doctor</code>.</p>`}
        <ul>
          ${Object.entries(ADMIN_PATHS).map(([path, what]) => html`<li><a href="${path}">${path}</a>: ${what}</li>`)}
        </ul>
      </body>
    </html>`;
}
