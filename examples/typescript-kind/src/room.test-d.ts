// What must not compile. The build checks this file and never runs it: where a
// line under `@ts-expect-error` has nothing wrong, the build fails.

import type { Events, Message } from './events';
import { client, events, integer, kind, operations, optional, text } from './hulynet';
import type { RoomOperations } from './room';

declare const message: Message;

export function sending(either: 'said' | 'closed') {
    const { broadcast, send } = events<Events>();

    broadcast('said', message);
    broadcast('closed', 'ann');
    send('a connection', 'welcome', 1);

    // @ts-expect-error: there is no such event
    broadcast('sad', message);
    // @ts-expect-error: it carries something else
    broadcast('said', 'hello');
    // @ts-expect-error: a part of it is missing
    broadcast('said', { number: 1, author: 'ann' });
    // @ts-expect-error: it has no such part
    broadcast('said', { number: 1, author: 'ann', text: 'hello', loud: true });
    // @ts-expect-error: it carries something
    broadcast('closed');
    // @ts-expect-error: that is for one of the two names alone
    broadcast(either, 'ann');
    // @ts-expect-error: there is no such event
    send('a connection', 'welcom', 1);
    // @ts-expect-error: it carries something else
    send('a connection', 'welcome', '1');
    // @ts-expect-error: to whom?
    send('welcome', 1);
    // @ts-expect-error: no events are declared
    events().broadcast('said', message);
    // @ts-expect-error: JSON cannot carry it
    events<{ at: Date }>();
}

export function hearing(line: string) {
    const { said, closed }: Partial<Events> = JSON.parse(line);

    // @ts-expect-error: there is no such event
    const { sad }: Partial<Events> = JSON.parse(line);
    // @ts-expect-error: it may be another event
    said.text;
    // @ts-expect-error: it has no such part
    said?.txt;
    // @ts-expect-error: it carries something else
    closed?.author;
}

export function asking() {
    using room = client<RoomOperations>('room', { uuid: 'hall' });

    const said: Message = room.say({ text: 'hello' });
    const before: Message[] = room.history({ last: 5 });
    room.history({});

    // @ts-expect-error: there is no such operation
    room.shout({ text: 'hello' });
    // @ts-expect-error: an argument of another type
    room.say({ text: 5 });
    // @ts-expect-error: an argument of another name
    room.say({ txt: 'hello' });
    // @ts-expect-error: an argument is missing
    room.say({});
    // @ts-expect-error: one that may be left out, of another type
    room.history({ last: '5' });
    // @ts-expect-error: no arguments at all
    room.say();
    // @ts-expect-error: one argument too many
    room.say({ text: 'hello', loud: true });
    // @ts-expect-error: they come by name
    room.say('hello');
    // @ts-expect-error: it answers something else
    const number: number = room.say({ text: 'hello' });
    // @ts-expect-error: the answer has no such part
    room.say({ text: 'hello' }).txt;
    // @ts-expect-error: no operations are named
    client('room', {}).say({ text: 'hello' });

    return { said, before };
}

class State {
    readonly count = 0;
}

class Other {
    readonly name = '';
}

export function serving() {
    const operation = operations<State>();

    operation({ by: optional(integer(1, 9), 1) }, (state, { by }): number => state.count + by);

    // @ts-expect-error: there is no such argument
    operation({ text: text() }, (_, { txt }) => txt);
    // @ts-expect-error: the argument has another type
    operation({ text: text() }, (_, { text }): number => text);
    // @ts-expect-error: the state has no such part
    operation({}, ({ total }) => total);
    // @ts-expect-error: JSON cannot carry the answer
    operation({}, () => new Date());
    // @ts-expect-error: the answer is there at once
    operation({}, async () => 1);
    // @ts-expect-error: what is left out is of the same type
    optional(integer(1, 9), 'one');
    // @ts-expect-error: these are operations of another state
    kind<State>({ start: () => new State(), operations: { name: operations<Other>()({}, ({ name }) => name) } });
}
