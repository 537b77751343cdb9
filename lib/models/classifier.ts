import type { Head, HeadOutput } from '../losses';
import { type Layer, Module } from '../nn';
import { locateErrors, requireModule } from '../nn/module';
import type { Tensor } from '../tensor';
import type { ModelConfig } from './registry';

/** A network that makes features of images, and the loss that holds its class weights. */
export class Classifier extends Module {
  readonly features: Layer;
  readonly head: Head;
  /** From which `createModel` builds the same network; null where it was assembled by hand. */
  readonly config: ModelConfig | null;

  /**
   * @param features `[N, H, W, C]` to `[N, D]`.
   * @throws {OptionError} naming the argument that is no module.
   */
  constructor(features: Layer, head: Head, config: ModelConfig | null = null) {
    super();
    requireModule('features', features);
    requireModule('head', head);
    this.features = features;
    this.head = head;
    this.config = config;
  }

  /**
   * @param images `[N, H, W, C]`
   * @param labels `[N]`, i32, from 0 below the number of classes.
   */
  forward(images: Tensor, labels: Tensor): HeadOutput {
    const features = this.#featuresOf(images);
    return locateErrors('head', this.head, () => this.head.forward(features, labels));
  }

  /** The logits `[N, classes]`, without margin. For evaluation call `eval()` before, and this inside `noGrad()`. */
  predict(images: Tensor): Tensor {
    const features = this.#featuresOf(images);
    return locateErrors('head', this.head, () => this.head.logits(features));
  }

  #featuresOf(images: Tensor): Tensor {
    return locateErrors('features', this.features, () => this.features.forward(images));
  }
}
