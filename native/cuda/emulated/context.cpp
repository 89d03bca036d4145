#include "context.h"

#include <cstdint>

#if defined(__x86_64__)

// Saves what a call must preserve, swaps stacks, restores. MXCSR and the x87 control word are never changed here.
asm(R"(
.text
.p2align 4
.type llspec_switch, @function
llspec_switch:
    .cfi_startproc
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .cfi_endproc
.size llspec_switch, .-llspec_switch
)");

extern "C" void llspec_switch(void** from, void* to);

namespace llspec_emulated
{
Context make_context(unsigned char* stack, std::size_t bytes, void (*entry)())
{
    // Six registers, the entry as return address, and a zero return address above it: at entry the stack is 8 bytes off 16, as after a call.
    auto top = reinterpret_cast<std::uintptr_t>(stack + bytes) & ~std::uintptr_t{15};
    auto* slot = reinterpret_cast<std::uintptr_t*>(top) - 8;
    for (int i = 0; i < 6; i++)
    {
        slot[i] = 0;
    }

    slot[6] = reinterpret_cast<std::uintptr_t>(entry);
    slot[7] = 0;
    return slot;
}

void switch_context(Context* from, Context to) { llspec_switch(from, to); }

void free_context(Context) {}
}

#else

#include <ucontext.h>

namespace llspec_emulated
{
Context make_context(unsigned char* stack, std::size_t bytes, void (*entry)())
{
    auto* context = new ucontext_t;
    getcontext(context);
    context->uc_stack.ss_sp = stack;
    context->uc_stack.ss_size = bytes;
    context->uc_link = nullptr;
    makecontext(context, entry, 0);
    return context;
}

void switch_context(Context* from, Context to)
{
    if (*from == nullptr)
    {
        *from = new ucontext_t;
    }

    swapcontext(static_cast<ucontext_t*>(*from), static_cast<ucontext_t*>(to));
}

void free_context(Context context) { delete static_cast<ucontext_t*>(context); }
}

#endif
