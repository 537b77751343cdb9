/** A line on stderr; programs get it as the event `warning` of the process. */
export function warn(code: `SPHERENET_${string}`, message: string): void {
  process.emitWarning(message, { type: 'SphereNetWarning', code });
}
