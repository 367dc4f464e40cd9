/** Root may read and write everything, so whoever runs the tests as root becomes somebody else for the time of `act`. */
export function asNobody<T>(act: () => T): T {
  if (process.geteuid?.() !== 0) return act();
  process.seteuid?.(65534);
  try {
    return act();
  } finally {
    process.seteuid?.(0);
  }
}
