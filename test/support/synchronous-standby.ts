/** A standby that has, before it is told, all that was committed: a failover loses nothing of it. */
import pg from 'pg';
import { type PostgresServer, ROLE, startPostgres } from './postgres.ts';
import { until } from './process/with-timeout.ts';

/**
 * Settings of its primary. What a server reads anew while it runs is in force at one process of it later than at another one:
 * so COMMIT would wait for standbys from the start, and is kept from it.
 */
export const FOLLOWED = { synchronous_standby_names: '*', synchronous_commit: 'local' };

/** In sessions of the backend's role that begin from now on. @param primary with the settings `FOLLOWED` */
export async function startSynchronousStandby(primary: PostgresServer): Promise<PostgresServer> {
  const standby = await startPostgres({ standbyOf: primary });
  const admin = new pg.Client({ connectionString: primary.url('postgres', 'postgres') });
  try {
    await admin.connect();
    const text = `SELECT FROM pg_stat_replication WHERE sync_state = 'sync'`;
    await until(async () => (await admin.query(text)).rowCount === 1, 20_000, 'the standby is synchronous');
    await admin.query(`ALTER ROLE ${ROLE} SET synchronous_commit = remote_apply`);
    return standby;
  } catch (error) {
    await standby[Symbol.asyncDispose]();
    throw error;
  } finally {
    await admin.end();
  }
}
