import { isGradEnabled } from '../autograd';
import { describe, OptionError } from '../errors';
import type { Tensor } from '../tensor';
import { type Layer, locateErrors, Module, requireModule } from './module';

/**
 * Layers one after the other, named `0`, `1`, ... or by the keys of a record. An error in one of them begins with its
 * name. Without recording, a layer's output is released as soon as the next one has used it. Layers that can
 * run as one do: a BatchNorm2d right after a convolution, a SphereConv2d's in training, either's in evaluation.
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
      const host = layer.asEpilogueHost();
      const follower = host && next?.asEpilogue();
      if (host && next && follower) {
        const convolution = locateErrors(name, layer, () => host.prepare(input));
        const epilogue = locateErrors(nextName!, next, () => follower.epilogueOf(convolution.y));
        y = locateErrors(name, layer, () => convolution.run(epilogue));
        i++;
      } else {
        y = locateErrors(name, layer, () => layer.forward(input));
      }
      if (release && input !== x && input !== y && !input.kept) input.dispose();
    }
    return y;
  }
}
