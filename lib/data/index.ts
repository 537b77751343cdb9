export {
  type Batch, BatchLoader, type BatchLoaderOptions, type BatchRequest, type DatasetInfo, type IndexedBatch, type Loader,
} from './batchLoader';
export { type Cifar100Options, loadCifar10, loadCifar100 } from './cifar';
export { type Dataset, type DatasetSplits, type ImageDataset, imageDataset, subset } from './dataset';
export {
  type DatasetName, datasetNames, type DatasetSummary, loadDataset, type LoadDatasetOptions, type SplitSummary, summarizeDataset,
} from './datasets';
export { errorPolicies, type ErrorPolicy, type ImageFolder, type ImageFolderOptions, loadImageFolder } from './imageFolder';
export { crops, type FolderAugmentation, ImageFolderLoader, type ImageFolderLoaderOptions } from './imageFolderLoader';
export { type Augmentation, DataLoader, type DataLoaderOptions } from './loader';
export { type AugmentationName, augmentationNames, evaluationLoader, trainingLoader } from './loaders';
export { loadFashionMnist, loadMnist } from './mnist';
export type { LoadOptions, LoadProgress } from './options';
