// What makes kinds in TypeScript pleasant: typed operations with checked
// arguments, typed answers, events and errors, and typed calls of other containers.
// Payloads are JSON, as the SDK for Rust and the command line have them:
// arguments come in an array in order, or in an object by name.

import { broadcast as broadcastBytes, send as sendBytes } from 'huly:network/connections@0.1.0';
import { get, type Reference } from 'huly:network/containers-sync@0.1.0';
import type {
    Error as NetworkError, ErrorKind, GetOptions, Retry,
} from 'huly:network/common@0.1.0';
import type { Caller, Connection, Incoming, Termination } from 'huly:network/guest-sync@0.1.0';
import { write } from 'huly:network/log@0.1.0';

export type { Caller, Connection };

/** A value that JSON can carry. Declare yours with `type`: TypeScript takes no
 * `interface` for one, as anybody may extend it. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** An error that crosses the network: what it is, and whether a retry is safe. */
export class Refusal extends Error {
    constructor(
        message: string,
        readonly kind: ErrorKind = 'application',
        readonly retry: Retry = 'final',
    ) {
        super(message);
    }

    /** Nothing was done: the caller may ask again whenever it suits. */
    static busy(message: string): Refusal {
        return new Refusal(message, 'busy', 'not-processed');
    }
}

// Arguments.

/** Reads one argument. What is absent is `undefined`. */
export interface Parameter<T> {
    /** What it takes, for messages. */
    readonly takes: string;
    /** The value, or `undefined` when it is of another shape. */
    read(value: unknown): { value: T } | undefined;
}

/** One that a caller may leave out. */
export interface Optional<T> extends Parameter<T> {
    readonly optional: true;
}

type Parameters = Record<string, Parameter<any>>;
/** What an operation gets. */
type Arguments<P extends Parameters> = {
    [K in keyof P]: P[K] extends Parameter<infer T> ? T : never;
};
/** What a caller gives. */
type Given<P extends Parameters> = Partial<Arguments<P>> &
    Arguments<{ [K in keyof P as P[K] extends Optional<any> ? never : K]: P[K] }>;

/** A text of at most so many characters. */
export function text(most = 10_000): Parameter<string> {
    return {
        takes: `a text of 1 to ${most} characters`,
        read: (value) =>
            typeof value === 'string' && value.length > 0 && value.length <= most ? { value } : undefined,
    };
}

/** A whole number within bounds. */
export function integer(least: number, most: number): Parameter<number> {
    return {
        takes: `a whole number from ${least} to ${most}`,
        read: (value) =>
            Number.isInteger(value) && (value as number) >= least && (value as number) <= most
                ? { value: value as number }
                : undefined,
    };
}

/** A parameter that may be left out. */
export function optional<T>(parameter: Parameter<T>, otherwise: T): Optional<T> {
    return {
        optional: true,
        takes: `${parameter.takes}, or nothing`,
        read: (value) => (value === undefined || value === null ? { value: otherwise } : parameter.read(value)),
    };
}

function read<P extends Parameters>(operation: string, parameters: P, payload: Uint8Array): Arguments<P> {
    const names = Object.keys(parameters);
    const wrong = (why: string) => new Refusal(`${operation} takes ${names.join(', ') || 'nothing'}: ${why}`, 'invalid-arguments');
    const given = named(names, parse(payload, wrong), wrong);
    const read = Object.entries(parameters).map(([name, parameter]) => {
        const found = parameter.read(given[name]);
        if (!found) throw wrong(`${name} must be ${parameter.takes}`);
        return [name, found.value] as const;
    });
    return Object.fromEntries(read) as Arguments<P>;
}

function parse(payload: Uint8Array, wrong: (why: string) => Refusal): unknown {
    try {
        return payload.length === 0 ? null : JSON.parse(decoder.decode(payload));
    } catch (cause) {
        throw wrong(String(cause));
    }
}

function named(names: string[], payload: unknown, wrong: (why: string) => Refusal): Record<string, unknown> {
    if (payload === null) return {};
    if (Array.isArray(payload)) {
        if (payload.length > names.length) throw wrong(`${payload.length} were given`);
        return Object.fromEntries(payload.map((value, place) => [names[place], value]));
    }
    if (typeof payload !== 'object') throw wrong('they come in an array or an object');
    const unknown = Object.keys(payload).find((name) => !names.includes(name));
    if (unknown !== undefined) throw wrong(`there is no ${JSON.stringify(unknown)}`);
    return payload as Record<string, unknown>;
}

// Operations.

/** What an operation knows of the request beside its arguments. */
export type Call = Omit<Incoming, 'operation' | 'payload'>;

/** An operation of a kind with this state. */
export interface Operation<S, P extends Parameters, R extends Json | void> {
    parameters: P;
    run(state: S, args: Arguments<P>, call: Call): R;
}

type Operations<S> = Record<string, Operation<S, any, any>>;

/** Defines operations; the types of their arguments follow from the parameters. */
export function operations<S>() {
    return <P extends Parameters, R extends Json | void>(
        parameters: P,
        run: (state: S, args: Arguments<P>, call: Call) => R,
    ): Operation<S, P, R> => ({ parameters, run });
}

/** What a kind is made of. */
export interface Kind<S> {
    /** Makes the state of a container; `extra` is what its first `get` handed over. */
    start(extra: Uint8Array): S;
    operations: Operations<S>;
    /** A client connects; a `Refusal` keeps it out. */
    connect?(state: S, connection: Connection): void;
    /** A client is gone. */
    disconnect?(state: S, id: string): void;
    /** Whether the container may end now. */
    terminate?(state: S, force: boolean): boolean;
}

/** The exports of a component: `export const guestSync = kind({ … })`. */
export function kind<S>(kind: Kind<S>) {
    let state: S;
    return {
        start: (extra: Uint8Array) => answering('start', () => void (state = kind.start(extra))),
        request({ operation: name, payload, ...call }: Incoming): Uint8Array {
            return answering(name, () => {
                const operation = Object.hasOwn(kind.operations, name) ? kind.operations[name] : undefined;
                if (!operation) {
                    const known = Object.keys(kind.operations).join(', ');
                    throw new Refusal(`there is no operation ${JSON.stringify(name)}; there are: ${known}`, 'unknown-operation');
                }
                return encode(operation.run(state, read(name, operation.parameters, payload), call));
            });
        },
        connect: (connection: Connection) => answering('connect', () => kind.connect?.(state, connection)),
        disconnect: (id: string) => kind.disconnect?.(state, id),
        ping() {},
        terminate: (force: boolean): Termination => (kind.terminate?.(state, force) ?? true ? 'ended' : 'not-yet'),
    };
}

/** Turns what is thrown into what the contract has: an exception that is no
 * refusal is a defect of the kind, so its trace goes to the log. */
function answering<T>(what: string, answer: () => T): T {
    try {
        return answer();
    } catch (thrown) {
        throw thrown instanceof Refusal ? contracted(thrown) : defect(what, thrown);
    }
}

function contracted({ kind, retry, message }: Refusal): NetworkError {
    return { kind, retry, message };
}

function defect(what: string, thrown: unknown): NetworkError {
    const stack = thrown instanceof Error ? (thrown.stack ?? '') : '';
    write('error', `${what} failed: ${thrown}`, [['stack', stack]]);
    return { kind: 'application', retry: 'maybe-processed', message: `${what} failed: ${thrown}` };
}

// Events.

/** The name of an event and what it carries, as a pair: one goes with the other. */
type Named<E> = { [N in keyof E & string]: [name: N, payload: E[N]] }[keyof E & string];

/** Defines events, by their names and what each carries. On the wire one is an
 * object with its name as the only key, so clients read it as `Partial<E>`. */
export function events<E extends Record<string, Json> = {}>() {
    const event = ([name, payload]: Named<E>) => encode({ [name]: payload });
    return {
        /** Sends an event to everybody who is connected. */
        broadcast: (...named: Named<E>): void => outgoing(() => broadcastBytes(event(named))),
        /** Sends an event to one connection. */
        send: (connection: string, ...named: Named<E>): void => outgoing(() => sendBytes(connection, event(named))),
    };
}

// The log and other containers.

/** Writes a line to the agent's log. */
export function log(level: 'debug' | 'info' | 'warn' | 'error', message: string, fields: Record<string, string> = {}): void {
    write(level, message, Object.entries(fields));
}

/** The methods of a container whose kind has these operations. */
export type Client<O extends Operations<any>> = Disposable & {
    [K in keyof O]: O[K] extends Operation<any, infer P, infer R> ? (args: Given<P>) => R : never;
};

/** In whose name, and for how long. */
export interface Asking {
    /** In the name of the caller that is being served. */
    onBehalf?: boolean;
    timeoutMs?: number;
}

/** Finds or starts a container and holds it: `using room = client<RoomOperations>('room', { uuid })`. */
export function client<O extends Operations<any> = {}>(
    kind: string,
    wanted: Partial<GetOptions>,
    { onBehalf = false, timeoutMs }: Asking = {},
): Client<O> {
    const nothing: GetOptions = { labels: [], select: [], extra: new Uint8Array(), near: [], avoid: [] };
    const reference: Reference = outgoing(() => get(kind, { ...nothing, ...wanted }));
    const methods = {
        get(_: object, name: string | symbol): unknown {
            if (name === Symbol.dispose) return () => reference[Symbol.dispose]();
            return (args: Json) => {
                const payload = encode(args);
                return decode(outgoing(() => reference.request(String(name), payload, onBehalf, timeoutMs)));
            };
        },
    };
    return new Proxy({}, methods) as Client<O>;
}

/** Errors of the network become refusals, which may be passed on as they are. */
function outgoing<T>(ask: () => T): T {
    try {
        return ask();
    } catch (thrown) {
        const error = (thrown as { payload?: NetworkError }).payload;
        throw error ? new Refusal(error.message, error.kind, error.retry) : thrown;
    }
}

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });

function encode(value: Json | void): Uint8Array {
    return encoder.encode(JSON.stringify(value ?? null));
}

function decode(payload: Uint8Array): unknown {
    return payload.length === 0 ? null : JSON.parse(decoder.decode(payload));
}
