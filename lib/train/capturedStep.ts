import type { Handle } from '../../typings/native';
import type { Batch } from '../data';
import { releaseCachedMemory } from '../device';
import { ShapeError } from '../errors';
import { captureGraph, type CapturedGraph } from '../graph';
import type { Classifier } from '../models';
import type { Module } from '../nn';
import { formatShape, requireLabels } from '../ops/checks';
import type { Tensor } from '../tensor';

/** What forward and backward leave beside the gradients, off the tape. */
export interface StepResults {
  loss: Tensor;
  penalty: Tensor | null;
  /** `[N, classes]` */
  logits: Tensor;
  theta: Tensor | null;
}

type StepInputs = Pick<Batch, 'images' | 'labels'>;

/** Forward and backward of a training step as a CUDA graph: one launch on the host instead of hundreds. */
export class CapturedStep {
  readonly #model: Classifier;
  /** Where the graph reads each batch. */
  readonly #inputs: StepInputs;
  readonly #graph: CapturedGraph<StepResults>;
  readonly #places: readonly Place[];
  readonly #modes: readonly (readonly [Module, boolean])[];

  /**
   * Records `step`, which computes the model's gradients anew; nothing is computed before {@link run}.
   * @param like A batch: the others must have its shape.
   * @throws {DeviceError} when the step reads or writes memory of the host; the gradients have been released.
   */
  constructor(model: Classifier, like: StepInputs, step: (inputs: StepInputs) => StepResults) {
    this.#model = model;
    const { device } = like.images;
    // Labels of zero: the step checks their range, and while it is captured it cannot read them back.
    this.#inputs = { images: like.images.newEmpty().keep(), labels: like.labels.newFull(0).keep() };
    // The graph cannot use what the steps before have left in the cache, and needs as much once more.
    releaseCachedMemory(device);
    try {
      this.#graph = captureGraph(device, () => step(this.#inputs));
    } catch (error) {
      this.#releaseInputsAndGradients();
      throw error;
    }
    for (const result of tensorsOf(this.#graph.result)) result.keep();
    this.#places = placesOf(model);
    this.#modes = model.modules().map((module) => [module, module.training]);
  }

  /**
   * Whether the model is where the graph reads and writes it, with the gradients that the graph makes and in its modes. A
   * callback may have moved it, released its gradients, or frozen a parameter or a layer.
   */
  get fits(): boolean {
    return this.#places.every(isSame) && this.#modes.every(([module, training]) => module.training === training);
  }

  /**
   * Runs the step on a batch. Results and gradients are the same tensors each time.
   * @throws {ShapeError | DTypeError | DeviceError | DataError} when the batch is not like the captured one, or a label
   *   is out of range; nothing has been changed.
   */
  run({ images, labels }: StepInputs): StepResults {
    const { shape } = this.#inputs.images;
    if (images.shape.join() !== shape.join()) {
      const found = formatShape(images.shape);
      throw new ShapeError('images', `with cudaGraph all images must have shape ${formatShape(shape)}, but these have ${found}`);
    }
    const [batch, classes] = this.#graph.result.logits.shape;
    requireLabels(labels, batch, classes, ['images', this.#inputs.images]);
    this.#inputs.images.assign(images);
    this.#inputs.labels.assign(labels);
    return this.#graph.replay();
  }

  /** Releases the graph, its results and the gradients. */
  dispose(): void {
    this.#graph.dispose();
    for (const result of tensorsOf(this.#graph.result)) result.dispose();
    this.#releaseInputsAndGradients();
  }

  #releaseInputsAndGradients(): void {
    this.#inputs.images.dispose();
    this.#inputs.labels.dispose();
    this.#model.zeroGrad();
  }
}

/** A tensor as the graph knows it. */
interface Place {
  tensor: Tensor;
  handle: Handle;
  requiresGrad: boolean;
  grad: Tensor | null;
}

function isSame({ tensor, handle, requiresGrad, grad }: Place): boolean {
  if (tensor.disposed || grad?.disposed) return false;
  return tensor.handle === handle && tensor.requiresGrad === requiresGrad && tensor.grad === grad;
}

function placesOf(model: Classifier): Place[] {
  return Object.values(model.stateDict()).map((tensor) => {
    const { handle, requiresGrad, grad } = tensor;
    return { tensor, handle, requiresGrad, grad };
  });
}

function tensorsOf({ loss, penalty, logits, theta }: StepResults): Tensor[] {
  return [loss, penalty, logits, theta].filter((each) => each !== null);
}
