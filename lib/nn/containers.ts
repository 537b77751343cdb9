import { isGradEnabled } from '../autograd';
import { describe, OptionError } from '../errors';
import { type Layer, locateErrors, Module, requireModule } from './module';
import type { Tensor } from '../tensor';

/**
 * Layers one after the other, named `0`, `1`, ... or by the keys of a record. An error in one of them begins with its
 * name. Without recording, a layer's output is released as soon as the next one has used it.
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
    let y = x;
    for (const [name, layer] of this.namedChildren()) {
      const input = y;
      y = locateErrors(name, layer, () => layer.forward(input));
      if (release && input !== x && input !== y && !input.kept) input.dispose();
    }
    return y;
  }
}
