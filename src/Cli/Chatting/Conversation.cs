using LowLevelSpec.Models;

namespace LowLevelSpec.Cli.Chatting;

/// <summary>The turns of a chat, cut from the front when they outgrow the context.</summary>
internal sealed class Conversation
{
    private readonly List<ChatMessage> _turns = [];
    private readonly ChatMessage? _system;

    /// <summary>Starts one.</summary>
    /// <param name="system">System message, kept for good; null for the template's own.</param>
    public Conversation(string? system) => _system = system is null ? null : new ChatMessage("system", system);

    /// <summary>What the chat template gets.</summary>
    public IReadOnlyList<ChatMessage> Messages => _system is null ? [.. _turns] : [_system, .. _turns];

    /// <summary>Adds a turn.</summary>
    public void Add(string role, string content) => _turns.Add(new ChatMessage(role, content));

    /// <summary>Takes the last turn back.</summary>
    public void RemoveLast() => _turns.RemoveAt(_turns.Count - 1);

    /// <summary>Forgets all turns but the system message.</summary>
    public void Clear() => _turns.Clear();

    /// <summary>Drops the oldest questions with their answers until the rest has at most <paramref name="limit"/> tokens; the last turn always stays.</summary>
    /// <param name="count">Tokens of the messages.</param>
    /// <param name="limit">Most tokens wanted.</param>
    /// <returns>Number of turns dropped.</returns>
    public int DropOldest(Func<IReadOnlyList<ChatMessage>, int> count, int limit)
    {
        int dropped = 0;
        while (_turns.Count > 1 && count(Messages) > limit)
        {
            // An answer whose question is gone goes too: templates want a user's turn first.
            do
            {
                _turns.RemoveAt(0);
                dropped++;
            }
            while (_turns.Count > 1 && _turns[0].Role != "user");
        }

        return dropped;
    }
}
