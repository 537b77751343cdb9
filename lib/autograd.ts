import { describe, OptionError } from './errors';
import type { Tensor } from './tensor';

/** One recorded operator. */
export interface GraphNode {
  readonly op: string;
  readonly inputs: readonly (Tensor | null)[];
  /** Tensors that backward reads and others may change, by the names of the operator's arguments. */
  readonly reads: Readonly<Record<string, Tensor | null>>;
  /** Those of {@link reads} when the operator ran, in their order. */
  readonly versions: readonly (number | undefined)[];
  /** Tensors only this node needs; released as soon as its backward has run. */
  readonly saved: readonly Tensor[];
  /** Gradients of the inputs, in their order; null where an input needs none. Fresh tensors, or `grad` itself. */
  readonly backward: (grad: Tensor) => readonly (Tensor | null)[];
  readonly order: number;
}

let recording = true;
let nextOrder = 0;

/** Whether operators are being recorded for `backward()`. */
export function isGradEnabled(): boolean {
  return recording;
}

/** Runs `body` with recording on or off and restores the former state, also when it throws. */
export function withGrad<R>(enabled: boolean, body: () => R): R {
  const before = recording;
  recording = enabled;
  try {
    return body();
  } finally {
    recording = before;
  }
}

/** Whether an operator of these inputs will be on the tape. */
export function isRecorded(inputs: readonly (Tensor | null)[]): boolean {
  return recording && inputs.some((input) => input?.requiresGrad);
}

/** What an operator's backward needs: {@link GraphNode}. */
export interface Needs {
  reads?: GraphNode['reads'];
  saved?: GraphNode['saved'];
}

/**
 * Puts an operator on the tape and returns its output. Where nothing is to be differentiated, what was saved for
 * backward is released at once.
 */
export function record(
  op: string,
  output: Tensor,
  inputs: readonly (Tensor | null)[],
  { reads = {}, saved = [] }: Needs,
  backward: GraphNode['backward'],
): Tensor {
  if (isRecorded(inputs)) {
    const versions = Object.values(reads).map((tensor) => tensor?.version);
    output.node = { op, inputs, reads, versions, saved, backward, order: nextOrder++ };
    output.requiresGrad = true;
  } else {
    for (const tensor of saved) tensor.dispose();
  }
  return output;
}

/**
 * Walks the tape from `root` and adds gradients to the leaves that require them. Unless `retainGraph`, everything the
 * tape holds is released on the way: saved tensors, and intermediate results that were not kept by `keep()`.
 */
export function runBackward(root: Tensor, seed: () => Tensor, retainGraph: boolean): void {
  const queue = reachable(root);
  for (const { node } of queue) requireUnchanged(node!);
  const pending = new Map<Tensor, Tensor>([[root, seed()]]);
  for (const tensor of queue) {
    const grad = pending.get(tensor);
    pending.delete(tensor);
    const node = tensor.node!;
    if (grad) {
      const gradients = withGrad(false, () => node.backward(grad));
      node.inputs.forEach((input, i) => {
        const gradient = gradients[i];
        if (!input || !gradient) return;
        if (input.node) accumulate(pending, input, gradient);
        else if (input.requiresGrad) input.grad = (input.grad ? sumAndRelease(input.grad, gradient) : gradient).keep();
        else gradient.dispose();
      });
      if (!gradients.includes(grad)) grad.dispose();
    }
    if (!retainGraph) {
      for (const saved of node.saved) saved.dispose();
      tensor.node = null;
      tensor.differentiated = true;
      if (tensor !== root) tensor.releaseAfterBackward();
    }
  }
}

/**
 * Every tensor with a node below `root`, later ones first: a node's consumers always come before it.
 * @throws {OptionError} at a kept result whose own inputs are no longer known: their gradients would be missing.
 */
function reachable(root: Tensor): Tensor[] {
  const found = new Set<Tensor>([root]);
  for (const tensor of found) {
    for (const input of tensor.node?.inputs ?? []) {
      if (input?.node) found.add(input);
      else if (input?.differentiated) {
        throw new OptionError(
          'tensor',
          'backward() reached a result that an earlier backward() differentiated; that one needs { retainGraph: true }',
        );
      }
    }
  }
  return [...found].sort((a, b) => b.node!.order - a.node!.order);
}

/** @throws {OptionError} when a tensor that the backward of `node` reads no longer holds what its forward read or wrote. */
function requireUnchanged({ op, reads, versions }: GraphNode): void {
  Object.entries(reads).forEach(([name, tensor], i) => {
    if (tensor?.version === versions[i]) return;
    throw new OptionError(
      name,
      `${name} of ${op}, of shape ${describe([...tensor!.shape])}, was changed in place after the forward pass: its gradient needs what it ` +
      'held. Call backward() before the change, or change a clone()',
    );
  });
}

function accumulate(pending: Map<Tensor, Tensor>, tensor: Tensor, gradient: Tensor): void {
  const before = pending.get(tensor);
  pending.set(tensor, before ? sumAndRelease(before, gradient) : gradient);
}

function sumAndRelease(a: Tensor, b: Tensor): Tensor {
  const total = a.plus(b);
  a.dispose();
  b.dispose();
  return total;
}
