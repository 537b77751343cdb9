import { isGradEnabled } from '../autograd';
import { describe, OptionError } from '../errors';
import type { Tensor } from '../tensor';
import { BatchNorm2d } from './batchNorm';
import { Conv2d } from './conv';
import { type Layer, locateErrors, Module, requireModule } from './module';
import { SphereConv2d } from './sphereConv';

/**
 * Layers one after the other, named `0`, `1`, ... or by the keys of a record. An error in one of them begins with its
 * name. Without recording, a layer's output is released as soon as the next one has used it. A BatchNorm2d right after
 * a convolution is done with it: a SphereConv2d's in training, either's in evaluation.
 */
export class Sequential extends Module {
  readonly layers: Readonly<Record<string, Layer>>;

  /** @throws {OptionError} when there is no layer, something is no module, or a name holds a dot. */
  constructor(layers: readonly Layer[] | Readonly<Record<string, Layer>>) {
    super();
    const named = Object.entries(layers);
    if (named.length === 0) throw new OptionError('layers', 'layers must hold at least one layer');
    for (const [name, layer] of named) {
      requireModule(`layers.${name}`, layer);
      if (name.includes('.')) throw new OptionError('layers', `a layer's name must hold no dot, but got ${describe(name)}`);
    }
    this.layers = Object.fromEntries(named);
  }

  override namedChildren(): [string, Layer][] {
    return Object.entries(this.layers);
  }

  forward(x: Tensor): Tensor {
    const release = !isGradEnabled();
    const layers = this.namedChildren();
    let y = x;
    for (let i = 0; i < layers.length; i++) {
      const [name, layer] = layers[i];
      const input = y;
      const [nextName, next] = layers.at(i + 1) ?? [];
      if (next && isBatchNorm(next) && isConvolution(layer)) {
        const convolution = locateErrors(name, layer, () => layer.pending(input));
        y = locateErrors(nextName!, next, () => next.forwardPending(convolution));
        i++;
      } else {
        y = locateErrors(name, layer, () => layer.forward(input));
      }
      if (release && input !== x && input !== y && !input.kept) input.dispose();
    }
    return y;
  }
}

// A layer whose forward pass is the class's own: what somebody put in its place must be run.
function isItself(layer: Layer, type: abstract new (...args: never[]) => Layer): boolean {
  return layer.constructor === type && !Object.hasOwn(layer, 'forward');
}

function isConvolution(layer: Layer): layer is Conv2d | SphereConv2d {
  return isItself(layer, Conv2d) || isItself(layer, SphereConv2d);
}

function isBatchNorm(layer: Layer): layer is BatchNorm2d {
  return isItself(layer, BatchNorm2d);
}
