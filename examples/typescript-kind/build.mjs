// Builds `build/room.wasm` and puts its manifest beside it. In order: types of
// the contract, type check, one JavaScript module, component.

import { spawnSync } from 'node:child_process';
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { componentize } from '@bytecodealliance/componentize-js';
import { $init, generateTypes } from '@bytecodealliance/jco-transpile/component';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
process.chdir(here);

// Where the contract is: beside the examples, unless somebody says otherwise.
const contract = process.env.HULYNET_WIT ?? join(here, '../../wit');

/** The contract and the kind's own world, as one text. */
async function world() {
    const names = (await readdir(contract)).filter((name) => name.endsWith('.wit')).sort();
    const texts = await Promise.all(names.map((name) => readFile(join(contract, name), 'utf8')));
    // Each file may name the package; within one text it is named once.
    const declared = /^package (.+);$/m;
    const name = texts.map((text) => declared.exec(text)?.[1]).find(Boolean);
    const interfaces = texts.map((text) => text.replace(/^[\s\S]*^package .+;$/m, '')).join('\n');
    return `${await readFile('room.wit', 'utf8')}\npackage ${name} {\n${interfaces}\n}\n`;
}

/** What TypeScript needs to know of the contract. */
async function types(wit) {
    await $init;
    const options = {
        wit: { tag: 'source', val: wit },
        world: 'room',
        guest: true,
        features: { tag: 'list', val: [] },
        tlaCompat: false,
        flagsAsBigint: false,
        variantsInlineCases: false,
        useNamespaceObjects: false,
        enumValuesScreamingSnakeCase: false,
    };
    for (const [name, content] of generateTypes('room', options)) {
        const path = join('build/types', name);
        await mkdir(dirname(path), { recursive: true });
        await writeFile(path, content);
    }
}

/** Ends the build when the types do not fit, or when what must not compile does. */
function check() {
    const compiler = fileURLToPath(import.meta.resolve('typescript/package.json'));
    const tsc = join(dirname(compiler), 'bin/tsc');
    const { status } = spawnSync(process.execPath, [tsc, '--project', '.'], { stdio: 'inherit' });
    if (status !== 0) process.exit(1);
}

await rm('build', { recursive: true, force: true });
await mkdir('build', { recursive: true });
const wit = await world();
await writeFile('build/world.wit', wit);
await types(wit);
check();
await build({
    entryPoints: ['src/room.ts'],
    outfile: 'build/room.js',
    bundle: true,
    format: 'esm',
    target: 'es2022',
    external: ['huly:network/*'],
});
const { component } = await componentize({
    sourcePath: 'build/room.js',
    witPath: 'build/world.wit',
    worldName: 'room',
    // A room sends no HTTP requests, and what a kind imports it must be granted.
    disableFeatures: ['http', 'fetch-event'],
});
await writeFile('build/room.wasm', component);
await copyFile('room.toml', 'build/room.toml');
console.log(`build/room.wasm: ${(component.length / 1e6).toFixed(1)} MB`);
