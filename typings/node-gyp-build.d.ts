declare module 'node-gyp-build' {
  export default function load(root: string): unknown;
}
