// What a room tells everybody who is connected. Types alone, which import
// nothing: a client in TypeScript takes this file over as it is.

export type Message = {
    readonly number: number;
    readonly author: string;
    readonly text: string;
};

/** The events by name, with what each of them carries. */
export type Events = {
    /** To who just came: how many listen now. */
    welcome: number;
    said: Message;
    /** By whom. */
    closed: string;
};
