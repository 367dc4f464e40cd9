/** Certificates of the operator's own, by which a backend that speaks TLS is believed. */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { CommandFailure, EXIT } from '../terminal.ts';

/**
 * Node only warns of a file that it cannot read, and then reaches no backend whose certificate was meant.
 *
 * @param file of `NODE_EXTRA_CA_CERTS`
 * @throws CommandFailure where it holds no certificate
 */
export function requireAuthorities(file: string | undefined): void {
  if (file === undefined || file === '') return;
  try {
    new X509Certificate(readFileSync(file));
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    const found = REASONS[code] ?? 'holds no certificate in PEM';
    throw new CommandFailure(
      `NODE_EXTRA_CA_CERTS=${file} ${found}. Give the file with the certificate of whoever signed the backend's, or leave the variable out.`,
      EXIT.misused,
      { cause: error },
    );
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist',
  EACCES: 'may not be read by this user',
  EISDIR: 'is a folder',
};
