/** The result of a command on stdout: as JSON, or as text for people. Everything else goes to stderr. */
export function printResult<T>(result: T, json: boolean | undefined, text: (result: T) => string): void {
  process.stdout.write(`${json ? JSON.stringify(result, null, 2) : text(result)}\n`);
}
