import type { ConvolutionConfig, HeadConfig } from '../models';

/** The operators of Tables 1 to 3, in the order of their rows. */
export const operators = {
  'sigmoid-0.1': { title: 'Sigmoid (0.1)', convolution: { operator: 'sigmoid', k: 0.1 } },
  'sigmoid-0.3': { title: 'Sigmoid (0.3)', convolution: { operator: 'sigmoid', k: 0.3 } },
  'sigmoid-0.7': { title: 'Sigmoid (0.7)', convolution: { operator: 'sigmoid', k: 0.7 } },
  'linear': { title: 'Linear', convolution: { operator: 'linear' } },
  'cosine': { title: 'Cosine', convolution: { operator: 'cosine' } },
  'original': { title: 'Original Conv', convolution: 'plain' },
} as const satisfies Record<string, { title: string; convolution: ConvolutionConfig }>;

export type PaperOperator = keyof typeof operators;

export const paperOperators = Object.keys(operators) as PaperOperator[];

/** Percent by operator, in the order of {@link paperOperators}. */
export type ByOperator = readonly [number, number, number, number, number, number];

/** The number of one operator in such a row. */
export function valueOf(row: ByOperator, operator: PaperOperator): number {
  return row[paperOperators.indexOf(operator)];
}

export const softmax = { loss: 'softmax' } as const satisfies HeadConfig;
export const cosineWSoftmax = { loss: 'w-softmax', operator: 'cosine' } as const satisfies HeadConfig;

/** What Tables 2 and 3 compare: SphereConvs with cosine W-Softmax, plain convolutions with softmax (§4.2). */
export function headOf(operator: PaperOperator): HeadConfig {
  return operator === 'original' ? softmax : cosineWSoftmax;
}
