/**
 * Told how a load that takes long comes on: bytes fetched (`total` where the server says it), or files decoded.
 * Called only while the cache is being filled.
 */
export type LoadProgress = (stage: 'download' | 'decode', done: number, total?: number) => void;

/** Options of the dataset loaders. */
export interface LoadOptions {
  /** Folder for fetched data. Default: $SPHERENET_CACHE, else $XDG_CACHE_HOME/spherenet, else ~/.cache/spherenet. */
  cache?: string;
  /** Where the data is instead of the loader's default source. */
  source?: string;
  onProgress?: LoadProgress;
}
