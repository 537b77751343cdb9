export { type Cifar100Options, loadCifar10, loadCifar100 } from './cifar';
export { type Dataset, type DatasetSplits, type ImageDataset, imageDataset, subset } from './dataset';
export { type DatasetName, datasetNames, type DatasetSummary, loadDataset, summarizeDataset } from './datasets';
export type { Batch, BatchLoaderOptions, DatasetInfo, IndexedBatch, Loader } from './batchLoader';
export { type Augmentation, DataLoader, type DataLoaderOptions, evaluationLoader } from './loader';
export { loadFashionMnist, loadMnist } from './mnist';
export type { LoadOptions, LoadProgress } from './options';
