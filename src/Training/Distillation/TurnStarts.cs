namespace LowLevelSpec.Training.Distillation;

/// <summary>First words of user turns: they spread the turns over kinds of tasks, which a target left to itself does not.</summary>
internal static class TurnStarts
{
    /// <summary>Used where no others are given.</summary>
    public static readonly IReadOnlyList<string> BuiltIn =
    [
        "Write a Python function that", "Summarize", "John has", "What is the", "Explain how", "Translate the following sentence",
        "Write a short story about", "How do I", "A train leaves", "List five", "Why does", "Give me a recipe for",
        "Rewrite this paragraph", "Compare", "Can you help me", "Write an email to", "Who was", "If a rectangle has",
        "Describe", "What are the advantages of", "Write a poem about", "Fix the bug in this code:", "Classify", "In which year did",
        "I want to learn", "Maria buys", "Create a table of", "Suggest", "What happens when", "Write a SQL query that",
        "Imagine you are", "Tell me about", "Correct the grammar:", "Calculate", "What is the difference between", "Write a JavaScript function",
        "Extract the names", "Should I", "Outline an essay on", "Read the following text and", "Where can I", "Plan a trip to",
        "My friend", "Complete the sentence:", "Which of these", "Design a", "Write a dialogue between", "Define the word",
        "The following article", "There are", "Implement a class", "What would you", "Give three examples of", "When was",
        "Write a product description for", "Convert", "Hi! I am", "Is it true that", "Prove that", "Please turn this into bullet points:",
    ];
}
