import { requireNumber } from '../errors';

/** A number with thousands separators, exactly `decimals` places and never a negative zero; "NaN" and "∞" as they are. */
function fixed(value: number, decimals: number): string {
  return value.toLocaleString('en-US', {
    minimumFractionDigits: decimals,
    maximumFractionDigits: decimals,
    signDisplay: 'negative',
  });
}

/** A whole number with thousands separators: `1234567` is "1,234,567". Fractions are rounded. */
export function formatCount(value: number): string {
  return fixed(value, 0);
}

/**
 * A number rounded to `digits` significant digits, trailing zeros kept so that columns line up: `0.31` is "0.310".
 * Magnitudes below 1e-4 and from 1e15 on are written with an exponent.
 */
export function formatSignificant(value: number, digits = 3): string {
  requireNumber('digits', digits, { min: 1, max: 15, integer: true });
  if (value === 0 || !Number.isFinite(value)) return fixed(value, 0);
  // Rounding comes first: 9.996 has one digit more before the point once it has become 10.0.
  const rounded = Number(value.toPrecision(digits));
  const magnitude = Math.floor(Math.log10(Math.abs(rounded)));
  if (magnitude < -4 || magnitude >= 15) return value.toExponential(digits - 1);
  return fixed(rounded, Math.max(0, digits - 1 - magnitude));
}

/** A number of unknown kind, as tables and bar labels show it: whole numbers as counts, others with four significant digits. */
export function formatNumber(value: number): string {
  return Number.isInteger(value) ? formatCount(value) : formatSignificant(value, 4);
}

/** A fraction as a percentage: `0.9876` is "98.76%". */
export function formatPercent(fraction: number, decimals = 2): string {
  requireNumber('decimals', decimals, { min: 0, max: 15, integer: true });
  return `${fixed(fraction * 100, decimals)}%`;
}

const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** A number of bytes in binary units: `1536` is "1.50 KiB". */
export function formatBytes(bytes: number): string {
  let size = bytes;
  let unit = 0;
  // Half a unit early, so that 1023.7 KiB does not round to "1,024 KiB".
  while (Math.abs(size) >= 1023.5 && unit < BYTE_UNITS.length - 1) {
    size /= 1024;
    unit++;
  }
  const magnitude = Math.abs(size);
  const decimals = unit === 0 || magnitude >= 99.95 ? 0 : magnitude >= 9.995 ? 1 : 2;
  return `${fixed(size, Number.isFinite(size) ? decimals : 0)} ${BYTE_UNITS[unit]}`;
}

/** A duration in the two units that matter: "12.3 ms", "4.56 s", "1 min 23 s", "2 h 5 min", "3 d 4 h". */
export function formatDuration(seconds: number): string {
  if (seconds === 0 || !Number.isFinite(seconds)) return `${fixed(seconds, 0)} s`;
  if (seconds < 0) return `-${formatDuration(-seconds)}`;
  // Each limit is where the smaller unit would round up to the larger one.
  if (seconds < 0.9995e-3) return `${formatSignificant(seconds * 1e6)} µs`;
  if (seconds < 0.9995) return `${formatSignificant(seconds * 1e3)} ms`;
  if (seconds < 59.95) return `${formatSignificant(seconds)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  const hours = Math.round(seconds / 3600);
  return `${formatCount(Math.floor(hours / 24))} d ${hours % 24} h`;
}
