import { formatBytes, formatCount, formatDuration, formatNumber, formatPercent, formatSignificant } from '../../lib/report';
import { OptionError } from '../../lib/errors';

test.each([
  [0, '0'],
  [-0.2, '0'],
  [999.6, '1,000'],
  [1234567, '1,234,567'],
  [-1234567, '-1,234,567'],
  [1e21, '1,000,000,000,000,000,000,000'],
  [NaN, 'NaN'],
  [Infinity, '∞'],
])('formatCount(%p) is %s', (value, text) => {
  expect(formatCount(value)).toBe(text);
});

test.each([
  [0, 3, '0'],
  [0.31, 3, '0.310'],
  [9.996, 3, '10.0'],
  [99.96, 3, '100'],
  [12345, 3, '12,300'],
  [-2.5, 2, '-2.5'],
  [0.0001234, 2, '0.00012'],
  [0.00009999, 3, '0.000100'],
  [0.00001234, 3, '1.23e-5'],
  [6.02214e23, 3, '6.02e+23'],
  [NaN, 3, 'NaN'],
  [-Infinity, 3, '-∞'],
])('formatSignificant(%p, %p) is %s', (value, digits, text) => {
  expect(formatSignificant(value, digits)).toBe(text);
});

test('formatSignificant wants a sensible number of digits', () => {
  expect(() => formatSignificant(1, 0)).toThrow(OptionError);
});

test.each([
  [5, '5'],
  [12345, '12,345'],
  [92.3, '92.30'],
  [0.123456, '0.1235'],
  [NaN, 'NaN'],
])('formatNumber(%p) is %s', (value, text) => {
  expect(formatNumber(value)).toBe(text);
});

test.each([
  [0, undefined, '0.00%'],
  [0.9876, undefined, '98.76%'],
  [1, 0, '100%'],
  [-0.00001, 2, '0.00%'],
  [-0.5, 1, '-50.0%'],
  [12.5, 0, '1,250%'],
  [NaN, 0, 'NaN%'],
])('formatPercent(%p, %p) is %s', (value, decimals, text) => {
  expect(formatPercent(value, decimals)).toBe(text);
});

test.each([
  [0, '0 B'],
  [1023, '1,023 B'],
  [1024, '1.00 KiB'],
  [1536, '1.50 KiB'],
  [1024 ** 2 - 1, '1.00 MiB'],
  [9.999 * 1024, '10.0 KiB'],
  [80 * 1024 ** 3, '80.0 GiB'],
  [-1536, '-1.50 KiB'],
  [2 ** 70, '1,048,576 PiB'],
  [NaN, 'NaN B'],
  [Infinity, '∞ PiB'],
])('formatBytes(%p) is %s', (value, text) => {
  expect(formatBytes(value)).toBe(text);
});

test.each([
  [0, '0 s'],
  [1.5e-6, '1.50 µs'],
  [0.0123, '12.3 ms'],
  [0.9996, '1.00 s'],
  [4.56, '4.56 s'],
  [59.96, '1 min 0 s'],
  [83, '1 min 23 s'],
  [3599.6, '1 h 0 min'],
  [7500, '2 h 5 min'],
  [86399, '1 d 0 h'],
  [100 * 3600, '4 d 4 h'],
  [-83, '-1 min 23 s'],
  [NaN, 'NaN s'],
  [Infinity, '∞ s'],
])('formatDuration(%p) is %s', (value, text) => {
  expect(formatDuration(value)).toBe(text);
});
