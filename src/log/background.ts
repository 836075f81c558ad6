/** The threads that work behind the front. */
import { native } from '../native.ts';

/** Makes the calling thread one of the background, called `name`: the front, and programs, take its processor whenever they wake up. */
export const enterBackground = (name: string): void => native.enterBackground(name);
