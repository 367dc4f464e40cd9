/** The other end of `other-process.ts`. */
import Database from 'better-sqlite3';
import type { Order } from './other-process.ts';

const connections = new Map<string, Database.Database>();

function connectionTo(path: string): Database.Database {
  const known = connections.get(path);
  if (known !== undefined) return known;
  const connection = new Database(path, { timeout: 5_000 });
  connection.pragma('synchronous = off');
  connection.pragma('foreign_keys = off');
  connections.set(path, connection);
  return connection;
}

function obey({ path, sql }: Order): string {
  try {
    if (sql !== undefined) {
      connectionTo(path).exec(sql);
    } else {
      connections.get(path)?.close();
      connections.delete(path);
    }
    return '';
  } catch (error) {
    return String(error);
  }
}

process.on('message', (order: Order) => void process.send?.(obey(order)));
process.on('disconnect', () => {
  for (const connection of connections.values()) connection.close();
});
process.send?.('ready');
