import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { type RequestListener, type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzipSync, gzipSync } from 'node:zlib';
import { create } from 'tar';
import { cachedFolder } from '../../lib/data/cache';
import { downloadArchive, downloadPackage, extractFiles } from '../../lib/data/download';
import { DataError } from '../../lib/errors';

let root: string;
let archive: Buffer;
let server: Server;
let address: string;
let answer: RequestListener;

/** Incompressible, and larger than a socket's buffers, so that a connection can break in the middle. */
const noise = Buffer.concat(Array.from({ length: 40_000 }, (_, index) => createHash('sha256').update(`${index}`).digest()));

beforeAll(async () => {
  server = createServer((request, response) => {
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.close();
});

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'spherenet-test-'));
  await mkdir(join(root, 'source/package/data'), { recursive: true });
  await writeFile(join(root, 'source/package/data/noise.bin'), noise);
  await writeFile(join(root, 'source/package/labels.json'), '[1]');
  await writeFile(join(root, 'source/package/package.json'), '{"name":"tiny-data","version":"1.0.0"}');
  await symlink('/etc/hostname', join(root, 'source/package/link.bin'));
  await create({ file: join(root, 'tiny.tgz'), gzip: true, cwd: join(root, 'source') }, ['package']);
  archive = await readFile(join(root, 'tiny.tgz'));
  await mkdir(join(root, 'out'));
});
afterEach(async () => {
  await rm(root, { recursive: true });
});

const integrityOf = (bytes: Buffer) => `sha512-${createHash('sha512').update(bytes).digest('base64')}`;

/** Serves `tarball` as tiny-data@1.0.0, with the registry claiming `integrity`; closes the connection after `limit` bytes. */
function serve(tarball: Buffer, integrity?: string, limit = Infinity): void {
  answer = (request, response) => {
    if (request.url === '/tiny-data') {
      const dist = { tarball: `${address}/tiny-data/-/tiny-data-1.0.0.tgz`, integrity };
      const version = { name: 'tiny-data', version: '1.0.0', dist };
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ 'name': 'tiny-data', 'dist-tags': { latest: '1.0.0' }, 'versions': { '1.0.0': version } }));
    } else if (request.url === '/tiny-data/-/tiny-data-1.0.0.tgz') {
      response.setHeader('content-length', tarball.length);
      if (limit < tarball.length) response.write(tarball.subarray(0, limit), () => response.destroy());
      else response.end(tarball);
    } else {
      response.statusCode = 404;
      response.end('{}');
    }
  };
}

describe('downloadPackage', () => {
  const pinned = () => ({ name: 'tiny-data', version: '1.0.0', integrity: integrityOf(archive), bytes: archive.length });
  const out = () => join(root, 'out');

  const environment = { ...process.env };
  beforeEach(() => {
    process.env['npm_config_registry'] = `${address}/`;
  });
  afterEach(() => {
    process.env = { ...environment };
  });

  test('leaves the wanted files only, and tells its progress', async () => {
    serve(archive, integrityOf(archive));
    const progress = jest.fn();
    await downloadPackage(pinned(), ['noise.bin', 'labels.json'], out(), progress);
    expect((await readdir(out())).sort()).toEqual(['labels.json', 'noise.bin']);
    expect((await readFile(join(out(), 'noise.bin'))).equals(noise)).toBe(true);
    const received = progress.mock.calls.map(([bytes]) => bytes as number);
    expect(received.length).toBeGreaterThan(1);
    expect(received).toEqual([...received].sort((a, b) => a - b));
    expect(progress).toHaveBeenLastCalledWith(archive.length, archive.length);
  });

  test("asks the registry of npm's configuration when the environment names none", async () => {
    serve(archive, integrityOf(archive));
    await writeFile(join(root, 'npmrc'), `registry=${address}/\n`);
    // A process of its own: Jest gives a test its own copy of the environment, which npm would not see.
    const env = { ...environment, npm_config_registry: undefined, npm_config_userconfig: join(root, 'npmrc') };
    const call = `downloadPackage(${JSON.stringify(pinned())}, ['labels.json'], ${JSON.stringify(out())})`;
    const script = `require('./lib/data/download').${call}.catch((error) => { console.error(error); process.exit(1); })`;
    await promisify(execFile)('node', ['-r', 'ts-node/register/transpile-only', '-e', script], { env });
    expect(await readdir(out())).toEqual(['labels.json']);
  });

  const differences = ['what the registry claims', 'the bytes that come'];
  test.each(differences)('refuses a package when %s differ from the pin', async (what) => {
    const changed = Buffer.from(archive);
    changed[changed.length >> 1] ^= 1;
    if (what === 'the bytes that come') serve(changed, integrityOf(archive));
    else serve(changed, integrityOf(changed));
    const download = downloadPackage(pinned(), ['noise.bin'], out());
    await expect(download).rejects.toThrow(DataError);
    await expect(download).rejects.toThrow('tiny-data@1.0.0 does not have the checksum known to this library');
    expect(await readdir(out())).not.toContain('noise.bin');
  });

  test('an interrupted download leaves nothing behind, and the next one succeeds', async () => {
    const cache = join(root, 'cache');
    const load = () => cachedFolder(cache, 'tiny', (folder) => downloadPackage(pinned(), ['noise.bin'], folder));
    serve(archive, integrityOf(archive), archive.length >> 1);
    await expect(load()).rejects.toThrow(DataError);
    expect(await readdir(cache)).toEqual([]);
    serve(archive, integrityOf(archive));
    expect(await readdir(await load())).toEqual(['SHA256SUMS', 'noise.bin']);
  });

  test('needs no network once the files are in the cache', async () => {
    const load = () => cachedFolder(root, 'tiny', (folder) => downloadPackage(pinned(), ['noise.bin'], folder));
    serve(archive, integrityOf(archive));
    await load();
    answer = () => {
      throw new Error('the network was touched');
    };
    expect((await readFile(join(await load(), 'noise.bin'))).equals(noise)).toBe(true);
  });

  test('a package or version that is not there is a DataError', async () => {
    serve(archive, integrityOf(archive));
    await expect(downloadPackage({ ...pinned(), name: 'no-data' }, [], out())).rejects.toThrow(DataError);
    const other = downloadPackage({ ...pinned(), version: '2.0.0' }, [], out());
    await expect(other).rejects.toThrow('tiny-data@2.0.0 cannot be fetched');
  });
});

describe('downloadArchive', () => {
  const url = () => `${address}/tiny-data/-/tiny-data-1.0.0.tgz`;
  const noiseFile = new Map([['noise.bin', noise.length]]);

  test('leaves the wanted files only, and tells its progress', async () => {
    serve(archive);
    const progress = jest.fn();
    await downloadArchive(url(), noiseFile, join(root, 'out'), { onProgress: progress });
    expect(await readdir(join(root, 'out'))).toEqual(['noise.bin']);
    expect(progress).toHaveBeenLastCalledWith(archive.length, archive.length);
  });

  test('names the address when the server has no such file or breaks off', async () => {
    serve(archive, undefined, archive.length >> 1);
    const missing = downloadArchive(`${address}/missing.tar.gz`, noiseFile, join(root, 'out'));
    await expect(missing).rejects.toThrow(DataError);
    await expect(missing).rejects.toThrow(`${address}/missing.tar.gz cannot be fetched: the server answered 404`);
    await expect(downloadArchive(url(), noiseFile, join(root, 'out'))).rejects.toThrow(`${url()} cannot be fetched`);
  });

  test.each(['an answer', 'more bytes'])('gives up a server from which no %s comes', async (what) => {
    answer = (_, response) => {
      if (what === 'more bytes') response.write(archive.subarray(0, 1000));
    };
    const download = downloadArchive(url(), noiseFile, join(root, 'out'), { stall: 300 });
    await expect(download).rejects.toThrow(DataError);
    await expect(download).rejects.toThrow(/cannot be fetched: no (answer|byte) came for 0.3 s/);
  });

  test('ends early with a download that is larger than the archive can be', async () => {
    serve(archive);
    const download = downloadArchive(url(), new Map([['noise.bin', 1000]]), join(root, 'out'));
    await expect(download).rejects.toThrow(`${url()} cannot be fetched: it has more than 8000 bytes`);
  });
});

describe('extractFiles', () => {
  const extract = (wanted: string[], most = noise.length, hints?: Map<string, string>) =>
    extractFiles(join(root, 'tiny.tgz'), new Map(wanted.map((name) => [name, most])), join(root, 'out'), 'the origin', hints);

  test('names a file that is missing', async () => {
    await expect(extract(['labels.json', 'other.json'])).rejects.toThrow(DataError);
    await expect(extract(['labels.json', 'other.json'])).rejects.toThrow('the origin has no file other.json');
  });

  test('does not take a link for a file', async () => {
    await expect(extract(['link.bin'])).rejects.toThrow('the origin has no file link.bin');
  });

  test('notices an archive cut short, and one that is none', async () => {
    await writeFile(join(root, 'tiny.tgz'), archive.subarray(0, archive.length >> 1));
    await expect(extract(['noise.bin'])).rejects.toThrow(DataError);
    await writeFile(join(root, 'tiny.tgz'), 'a page that says sorry');
    await expect(extract(['noise.bin'])).rejects.toThrow('the origin is no intact tar archive');
  });

  test('says what another file means', async () => {
    await expect(extract(['other.json'], noise.length, new Map([['package.json', 'this is a package']]))).rejects.toThrow('no file other.json: this is a package');
  });

  test('refuses a file that is larger than it can be, before it is written', async () => {
    const tooLarge = extract(['noise.bin'], noise.length - 1);
    await expect(tooLarge).rejects.toThrow(DataError);
    await expect(tooLarge).rejects.toThrow(`noise.bin in the origin must have at most ${noise.length - 1} bytes, but has ${noise.length}`);
    expect(await readdir(join(root, 'out'))).toEqual([]);
  });

  test.each<[string, (tar: Buffer) => Buffer, RegExp]>([
    ['beside the wanted files', () => archive, /it unpacks to more than 800 bytes/],
    ['behind its end', (tar) => gzipSync(Buffer.concat([tar, Buffer.alloc(1 << 26)])), /it unpacks to more than 10240000 bytes/],
    ['that is compressed twice', (tar) => gzipSync(gzipSync(tar)), /decompression ratio/],
  ])('ends early with an archive that has too much %s', async (where, make, problem) => {
    await writeFile(join(root, 'tiny.tgz'), make(gunzipSync(archive)));
    const most = where === 'beside the wanted files' ? 100 : noise.length;
    await expect(extract([most === 100 ? 'labels.json' : 'noise.bin'], most)).rejects.toThrow(problem);
  });
});
