namespace LowLevelSpec.Engine.Tiny;

/// <summary>The text behind the generated tiny pair: its tokenizer is fitted to it, and its target writes words in an order this text knows.</summary>
internal static class TinyText
{
    /// <summary>Paragraphs; each ends with the end token.</summary>
    public static readonly string[] Paragraphs =
    [
        "A large language model writes one token at a time. Every token costs one pass over all of its weights, and the memory bus is busy while the arithmetic units wait. A pass over many tokens costs hardly more than a pass over one token.",
        "So a small model drafts and the large model checks. The drafter proposes a tree of tokens, the target reads the whole tree in one pass, and the longest path that the target would have written itself is kept. The rest of the tree is thrown away.",
        "The text does not change. The target chooses every token, the drafter only guesses what the target will choose. When the guess is right, several tokens are written in one pass. When the guess is wrong, one token is written and nothing is lost.",
        "The drafter sees what the target has seen. Layer self-attention reads the keys and values of all layers of the target and mixes them into one state for every token. Cross-attention looks at this state while the drafter writes. Self-attention looks at the tokens that were drafted a moment ago.",
        "A good drafter is small and fast. A good tree is wide at the root and narrow at the leaves. A good cache keeps the accepted path and forgets the other branches. A good test fails when the mask is wrong.",
        "On a quiet morning the little engine starts to write. It writes a line, and the line is checked. It writes a tree, and the tree is checked. The large model nods, the small model learns, and the words come several at a time.",
        "When the link is cut the client goes on writing. When the link returns the server reads what was written, keeps what is right and rolls back what is not. No token is lost, no token is repeated, no token is wrong.",
        "One thread loads the weights, another thread waits for work. The kernel reads a row, multiplies, adds and moves on to the next row. The sum is always taken in the same order, so the same row gives the same bits, however many rows come along.",
    ];
}
