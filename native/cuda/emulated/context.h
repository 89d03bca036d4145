// Stack switching for fibers. A few instructions of our own where the processor is known: the C library's swapcontext makes a system call each time.
#pragma once

#include <cstddef>

namespace llspec_emulated
{
// A suspended computation: its stack pointer (own switch) or a ucontext_t (elsewhere).
using Context = void*;

// A context that starts `entry` on the given stack; entry must never return.
Context make_context(unsigned char* stack, std::size_t bytes, void (*entry)());

// Saves the running computation in `from` and goes on with `to`.
void switch_context(Context* from, Context to);

// Gives back what a context holds besides its stack.
void free_context(Context context);
}
