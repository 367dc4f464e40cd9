/** How root starts a process of another user, for which a read-only file is read-only. */
export const AS_NOBODY = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};

/** Root may read and write everything, so a test that runs as root becomes another user for the time of `act`. */
export function asNobody<T>(act: () => T): T {
  if (process.geteuid?.() !== 0) return act();
  process.seteuid?.(65534);
  const comeBack = () => void process.seteuid?.(0);
  try {
    const value = act();
    // of threads too
    if (value instanceof Promise) return value.finally(comeBack) as T;
    comeBack();
    return value;
  } catch (error) {
    comeBack();
    throw error;
  }
}
