export { type Cifar100Options, loadCifar10, loadCifar100 } from './cifar';
export { type DatasetSplits, type ImageDataset, imageDataset, subset } from './dataset';
export { type Augmentation, type Batch, DataLoader, type DataLoaderOptions } from './loader';
export { loadFashionMnist, loadMnist } from './mnist';
export type { LoadOptions, LoadProgress } from './options';
