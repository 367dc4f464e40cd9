/** What the stack's own Prometheus says of the gate. */

/** @returns job, health and last error of everything that it scrapes */
export async function scrapedTargets(url: string): Promise<readonly (readonly [string, string, string])[]> {
  const { activeTargets } = (await ask(url, 'targets')) as {
    activeTargets: { labels: { job: string }; health: string; lastError: string }[];
  };
  return activeTargets.map(({ labels, health, lastError }) => [labels.job, health, lastError]);
}

/** @returns the names of the alerts that it watches */
export async function watchedAlerts(url: string): Promise<readonly string[]> {
  const { groups } = (await ask(url, 'rules')) as { groups: { rules: { name: string; type: string }[] }[] };
  return groups.flatMap(({ rules }) => rules.filter(({ type }) => type === 'alerting').map(({ name }) => name));
}

async function ask(url: string, route: string): Promise<unknown> {
  const answer = (await (await fetch(`${url}/api/v1/${route}`)).json()) as { data?: unknown; error?: string };
  if (answer.error !== undefined) throw new Error(answer.error);
  return answer.data;
}
