// A chat room. Each container is one room: what was said lives as long as the
// container does, and everybody who is connected hears what is said.

import type { Events, Message } from './events';
import {
    client, events, integer, kind, log, operations, optional, Refusal, text,
    type Call, type Connection,
} from './hulynet';

const { broadcast, send } = events<Events>();

/** Messages that a room remembers. */
const REMEMBERED = 1000;
/** Clients that may listen to one room. */
const LISTENERS = 100;

class Room {
    private readonly messages: Message[] = [];
    private readonly listeners = new Set<string>();
    private count = 0;
    private open = true;

    say(text: string, call: Call): Message {
        if (!this.open) throw new Refusal('the room is closed; open it or use another one');
        const message = { number: ++this.count, author: author(call), text };
        this.messages.push(message);
        if (this.messages.length > REMEMBERED) this.messages.shift();
        broadcast('said', message);
        return message;
    }

    history(last: number): Message[] {
        return this.messages.slice(-last);
    }

    close(call: Call): void {
        if (call.caller.account === undefined) {
            throw new Refusal('only somebody with an account closes a room', 'permission-denied');
        }
        this.open = false;
        broadcast('closed', author(call));
    }

    enter({ id }: Connection): void {
        // Nothing was done, so the client may come again.
        if (this.listeners.size >= LISTENERS) throw Refusal.busy('the room is full; come back later');
        this.listeners.add(id);
        send(id, 'welcome', this.listeners.size);
    }

    leave(id: string): void {
        this.listeners.delete(id);
    }
}

function author({ caller }: Call): string {
    return caller.account ?? caller.container?.uuid ?? 'somebody';
}

const operation = operations<Room>();

const room = {
    /** Says something to everybody in the room. */
    say: operation({ text: text(1000) }, (room, { text }, call) => room.say(text, call)),

    /** What was said last. */
    history: operation({ last: optional(integer(1, REMEMBERED), 20) }, (room, { last }) => room.history(last)),

    /** Says something in another room, in the name of whoever asks. */
    forward: operation({ to: text(256), text: text(1000) }, (_, { to, text }): Message => {
        using other = client<RoomOperations>('room', { uuid: to }, { onBehalf: true });
        return other.say({ text });
    }),

    /** Lets nobody say anything any more. */
    close: operation({}, (room, _, call) => room.close(call)),

    /** Fails, as a defect would. */
    stumble: operation({}, (): void => {
        const nothing: { length?: number } | undefined = JSON.parse('null') ?? undefined;
        log('warn', `it is about to stumble over ${nothing!.length}`);
    }),
};

/** For other kinds that ask a room: `client<RoomOperations>('room', { uuid })`. */
export type RoomOperations = typeof room;

export const guestSync = kind<Room>({
    start: () => new Room(),
    operations: room,
    connect: (room, connection) => room.enter(connection),
    disconnect: (room, id) => room.leave(id),
});
