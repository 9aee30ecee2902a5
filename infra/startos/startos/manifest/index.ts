import { setupManifest } from '@start9labs/start-sdk'

// The addresses under .example are to be replaced before the package is published.
export const manifest = setupManifest({
  id: 'sightglass',
  title: 'Sightglass',
  license: 'MIT',
  packageRepo: 'https://sightglass.example/repository',
  upstreamRepo: 'https://sightglass.example/repository',
  marketingUrl: 'https://sightglass.example/',
  donationUrl: null,
  description: {
    short: "Bitcoin's dollar price, computed from your own node",
    long:
      "Sightglass computes bitcoin's dollar price from your node's own mempool and streams it live to any browser, " +
      'without data from exchanges. People pay in round dollar amounts; the outputs of recent transactions show ' +
      'those amounts, and their position is the price.',
  },
  volumes: ['main'],
  images: {
    sightglass: {
      // Built from this repository, so that the package needs no registry.
      source: {
        dockerBuild: {
          workdir: '../..',
          dockerfile: '../Dockerfile',
          buildArgs: { VERSION: 'v0.1.0' },
        },
      },
      arch: ['x86_64', 'aarch64'],
    },
  },
  dependencies: {
    bitcoind: {
      description: 'The node whose transactions show the price.',
      optional: false,
      metadata: {
        title: 'Bitcoin',
        icon: 'https://raw.githubusercontent.com/Start9Labs/bitcoin-core-startos/refs/heads/30.x/dep-icon.svg',
      },
    },
  },
})
