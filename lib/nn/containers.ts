import { isGradEnabled } from '../autograd';
import { describe, OptionError, requireKnownKeys } from '../errors';
import { add, concat, relu } from '../ops';
import { requireBoolean } from '../ops/checks';
import type { Tensor } from '../tensor';
import { type Addition, isOverridden, type Layer, locateErrors, Module, requireModule } from './module';

/** Layers named `0`, `1`, ... or by the keys of a record. */
export type Layers = readonly Layer[] | Readonly<Record<string, Layer>>;

/** A copy with names. @throws {OptionError} when there is no layer, something is no module, or a name holds a dot. */
function namedLayers(argument: string, layers: Layers): Readonly<Record<string, Layer>> {
  const isGiven = typeof layers === 'object' && (layers as unknown) !== null;
  const named = isGiven ? Object.entries(layers) : [];
  if (named.length === 0) throw new OptionError(argument, `${argument} must hold at least one layer, but got ${describe(layers)}`);
  for (const [name, layer] of named) {
    requireModule(`${argument}.${name}`, layer);
    if (name.includes('.')) throw new OptionError(argument, `a layer's name must hold no dot, but got ${describe(name)}`);
  }
  return Object.fromEntries(named);
}

/** Of an output that has been used and is not recorded, so that nothing else will use it. */
function release(used: Tensor, ...stillNeeded: Tensor[]): void {
  if (!isGradEnabled() && !used.kept && !stillNeeded.includes(used)) used.dispose();
}

/**
 * Layers one after the other, named `0`, `1`, ... or by the keys of a record. An error in one of them begins with its
 * name. Without recording, a layer's output is released as soon as the next one has used it. Layers that can
 * run as one do: a BatchNorm2d right after a convolution, a SphereConv2d's in training, either's in evaluation.
 */
export class Sequential extends Module {
  readonly layers: Readonly<Record<string, Layer>>;

  /** @throws {OptionError} when there is no layer, something is no module, or a name holds a dot. */
  constructor(layers: Layers) {
    super();
    this.layers = namedLayers('layers', layers);
  }

  override namedChildren(): [string, Layer][] {
    return Object.entries(this.layers);
  }

  forward(x: Tensor): Tensor {
    return this.forwardAdding(x, null);
  }

  /** The forward pass with `addition` to its output, within the pass of the last layer where that can be. @internal */
  forwardAdding(x: Tensor, addition: Addition | null): Tensor {
    const layers = this.namedChildren();
    let rest = addition;
    let y = x;
    for (let i = 0; i < layers.length; i++) {
      const [name, layer] = layers[i];
      const input = y;
      const [nextName, next] = layers.at(i + 1) ?? [];
      const joined = i + 2 === layers.length ? rest : null;
      const host = layer.asEpilogueHost();
      const follower = host && next?.asEpilogue(joined);
      if (host && next && follower) {
        const convolution = locateErrors(name, layer, () => host.prepare(input));
        const epilogue = locateErrors(nextName!, next, () => follower.of(convolution.y));
        y = locateErrors(name, layer, () => convolution.run(epilogue));
        if (joined) rest = null;
        i++;
      } else {
        y = locateErrors(name, layer, () => layer.forward(input));
      }
      release(input, x, y);
    }
    return rest ? added(y, rest, x) : y;
  }
}

const sequentialForward: unknown = Reflect.get(Sequential.prototype, 'forward');

/** `addition` in passes of its own; y is released when nothing else needs it. */
function added(y: Tensor, addition: Addition, x: Tensor): Tensor {
  const sum = add(y, addition.residual);
  release(y, x);
  if (!addition.relu) return sum;
  const output = relu(sum);
  release(sum);
  return output;
}

export interface ResidualOptions {
  /** What a {@link Sequential} takes; the output has the shape of the shortcut's. */
  body: Layers;
  /** For the x that is added, such as a 1×1 convolution where shapes change. Default: x itself. */
  shortcut?: Layer;
  /** Whether a ReLU follows the addition. Default false. */
  relu?: boolean;
}

/**
 * A residual block, `y = body(x) + shortcut(x)`, possibly with a ReLU after it. Where the body ends with a convolution
 * and a BatchNorm2d without ReLU, addition and ReLU are part of the normalisation's pass.
 */
export class Residual extends Module {
  readonly body: Sequential;
  readonly shortcut: Layer | null;
  readonly relu: boolean;

  /** @throws {OptionError} naming the option at fault. */
  constructor(options: ResidualOptions) {
    super();
    requireKnownKeys('Residual', options, ['body', 'shortcut', 'relu']);
    const { body, shortcut = null, relu: hasRelu = false } = options;
    if (shortcut) requireModule('shortcut', shortcut);
    this.relu = requireBoolean('relu', hasRelu);
    this.body = new Sequential(namedLayers('body', body));
    this.shortcut = shortcut;
  }

  forward(x: Tensor): Tensor {
    const { body, shortcut } = this;
    const residual = shortcut ? locateErrors('shortcut', shortcut, () => shortcut.forward(x)) : x;
    const addition = { residual, relu: this.relu };
    const y = locateErrors('body', body, () =>
      isOverridden(body, sequentialForward) ? added(body.forward(x), addition, x) : body.forwardAdding(x, addition),
    );
    release(residual, x, y);
    return y;
  }
}

/**
 * Branches side by side on the same x, their outputs joined along the channels, as in an Inception network: from
 * `[N, H, W, C1]`, `[N, H, W, C2]`, ... to `[N, H, W, C1 + C2 + ...]`. Named as the layers of a {@link Sequential}.
 */
export class Concat extends Module {
  readonly branches: Readonly<Record<string, Layer>>;

  /** @throws {OptionError} when there is no branch, something is no module, or a name holds a dot. */
  constructor(branches: Layers) {
    super();
    this.branches = namedLayers('branches', branches);
  }

  override namedChildren(): [string, Layer][] {
    return Object.entries(this.branches);
  }

  /** @throws {ShapeError} when outputs differ in more than their channels, naming the branch by its number. */
  forward(x: Tensor): Tensor {
    const outputs = this.namedChildren().map(([name, branch]) => locateErrors(name, branch, () => branch.forward(x)));
    const y = concat(outputs);
    for (const output of outputs) release(output, x);
    return y;
  }
}
