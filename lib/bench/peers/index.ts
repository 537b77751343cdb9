import { type Device, deviceInfo } from '../../device';
import type { Peer, PeerName } from './peer';

export type { Peer, PeerName } from './peer';

/**
 * Starts other libraries. Those that have started are closed again when one cannot.
 * @throws {OptionError} naming what is missing.
 */
export async function startPeers(names: readonly PeerName[], devices: readonly Device[]): Promise<Peer[]> {
  const peers: Peer[] = [];
  try {
    for (const name of new Set(names)) peers.push(await startPeer(name, devices));
    return peers;
  } catch (error) {
    await closePeers(peers);
    throw error;
  }
}

export async function closePeers(peers: readonly Peer[]): Promise<void> {
  for (const peer of peers) await peer.close();
}

async function startPeer(name: PeerName, devices: readonly Device[]): Promise<Peer> {
  if (name === 'pytorch') return (await import('./pytorch')).pytorchPeer(devices);
  return (await import('./tfjs')).tfjsPeer(deviceInfo().threads);
}
