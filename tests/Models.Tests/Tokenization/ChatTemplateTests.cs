using Xunit;

namespace LowLevelSpec.Models.Tests.Tokenization;

/// <summary>Templates with the constructs that models' own templates use, and what Python's Jinja2 makes of them with Hugging Face's settings.</summary>
public class ChatTemplateTests
{
    private static readonly Dictionary<string, ChatMessage[]> Conversations = new()
    {
        ["one"] = [new("user", "Hi")],
        ["many"] = [new("system", "  Be brief. "), new("user", " What?\n"), new("assistant", "<think>\nhm\n</think>\n\nThat.\nYes."), new("user", "Ok 😀")],
        ["answered"] = [new("user", "a"), new("assistant", "<think>why</think>\n\nb")],
        ["tool"] = [new("user", "Weather?"), new("tool", "sunny"), new("tool", "warm")],
        ["twice"] = [new("user", "a"), new("user", "b")],
    };

    public static TheoryData<string, string, bool, string> Rendered => new()
    {
        { "chatml-tools", "one", true, "<|im_start|>system\nHelp.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n" },
        { "chatml-tools", "one", false, "<|im_start|>system\nHelp.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n" },
        { "chatml-tools", "many", true, "<|im_start|>system\n  Be brief. <|im_end|>\n<|im_start|>user\n What?\n<|im_end|>\n<|im_start|>assistant\n<think>\nhm\n</think>\n\nThat.\nYes.<|im_end|>\n<|im_start|>user\nOk 😀<|im_end|>\n<|im_start|>assistant\n" },
        { "chatml-tools", "answered", true, "<|im_start|>system\nHelp.<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n<think>why</think>\n\nb<|im_end|>\n<|im_start|>assistant\n" },
        { "chatml-tools", "answered", false, "<|im_start|>system\nHelp.<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n<think>why</think>\n\nb<|im_end|>\n" },
        { "chatml-tools", "tool", true, "<|im_start|>system\nHelp.<|im_end|>\n<|im_start|>user\nWeather?<|im_end|>\n<|im_start|>user\n<result>\nsunny\n</result>\n<result>\nwarm\n</result><|im_end|>\n<|im_start|>assistant\n" },
        { "chatml-tools", "twice", true, "<|im_start|>system\nHelp.<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>user\nb<|im_end|>\n<|im_start|>assistant\n" },
        { "headers", "one", true, "<s><|start_header_id|>system<|end_header_id|>\n\nDate: 11 letters\n\n<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n" },
        { "headers", "one", false, "<s><|start_header_id|>system<|end_header_id|>\n\nDate: 11 letters\n\n<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>" },
        { "headers", "many", true, "<s><|start_header_id|>system<|end_header_id|>\n\nDate: 11 letters\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nWhat?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n<think>\nhm\n</think>\n\nThat.\nYes.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nOk 😀<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n" },
        { "headers", "answered", true, "<s><|start_header_id|>system<|end_header_id|>\n\nDate: 11 letters\n\n<|eot_id|><|start_header_id|>user<|end_header_id|>\n\na<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n<think>why</think>\n\nb<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n" },
        { "headers", "answered", false, "<s><|start_header_id|>system<|end_header_id|>\n\nDate: 11 letters\n\n<|eot_id|><|start_header_id|>user<|end_header_id|>\n\na<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n<think>why</think>\n\nb<|eot_id|>" },
        { "headers", "tool", true, "<s><|start_header_id|>system<|end_header_id|>\n\nDate: 11 letters\n\n<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nWeather?<|eot_id|><|start_header_id|>result<|end_header_id|>\n\nsunny<|eot_id|><|start_header_id|>result<|end_header_id|>\n\nwarm<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n" },
        { "headers", "twice", true, "<s><|start_header_id|>system<|end_header_id|>\n\nDate: 11 letters\n\n<|eot_id|><|start_header_id|>user<|end_header_id|>\n\na<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nb<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n" },
        { "inst", "one", true, "<s>[Q] Hi[/Q]" },
        { "inst", "one", false, "<s>[Q] Hi[/Q]" },
        { "inst", "many", true, "<s>[Q]  What?\n[/Q] <think>\nhm\n</think>\n\nThat.\nYes.</s>[Q]   Be brief. \n\nOk 😀[/Q]" },
        { "inst", "answered", true, "<s>[Q] a[/Q] <think>why</think>\n\nb</s>" },
        { "inst", "answered", false, "<s>[Q] a[/Q] <think>why</think>\n\nb</s>" },
        { "inst", "tool", true, "refused: A tool cannot speak here" },
        { "inst", "twice", true, "refused: Turns must alternate, found user at 2" },
        { "macros", "one", true, "<|user|>\nHi</s>\n\n<|assistant|>\n\n" },
        { "macros", "one", false, "<|user|>\nHi</s>\n\n" },
        { "macros", "many", true, "<|system|>\n  Be brief. </s>\n\n<|user|>\n What?\n</s>\n\n        <|assistant|>\n<think> / hm / </think> /  / That. / Yes.</s>\n\n<|user|>\nOk 😀</s>\n\n<|assistant|>\n\n" },
        { "macros", "answered", true, "<|user|>\na</s>\n\n        <|assistant|>\n<think>why</think> /  / b</s>\n\n<|assistant|>\n\n" },
        { "macros", "answered", false, "<|user|>\na</s>\n\n        <|assistant|>\n<think>why</think> /  / b</s>\n\n" },
        { "macros", "tool", true, "<|user|>\nWeather?</s>\n\n<|assistant|>\n\n" },
        { "macros", "twice", true, "<|user|>\na</s>\n\n<|user|>\nb</s>\n\n<|assistant|>\n\n" },
        { "thinking", "one", true, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n" },
        { "thinking", "one", false, "<|im_start|>user\nHi<|im_end|>\n" },
        { "thinking", "many", true, "<|im_start|>system\n  Be brief. <|im_end|>\n<|im_start|>user\n What?\n<|im_end|>\n<|im_start|>assistant\nThat.\nYes.<|im_end|>\n<|im_start|>user\nOk 😀<|im_end|>\n<|im_start|>assistant\n" },
        { "thinking", "answered", true, "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n<think>\nwhy\n</think>\n\nb<|im_end|>\n<|im_start|>assistant\n" },
        { "thinking", "answered", false, "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n<think>\nwhy\n</think>\n\nb<|im_end|>\n" },
        { "thinking", "tool", true, "<|im_start|>user\nWeather?<|im_end|>\n<|im_start|>tool\nsunny<|im_end|>\n<|im_start|>tool\nwarm<|im_end|>\n<|im_start|>assistant\n" },
        { "thinking", "twice", true, "<|im_start|>user\na<|im_end|>\n<|im_start|>user\nb<|im_end|>\n<|im_start|>assistant\n" },
        { "turns", "one", true, "<s><turn>user\nHi</turn>\n<turn>model\n" },
        { "turns", "one", false, "<s><turn>user\nHi</turn>\n" },
        { "turns", "many", true, "<s><turn>user\n  Be brief. \n\nWhat?</turn>\n<turn>model\n<think>\nhm\n</think>\n\nThat.\nYes.</turn>\n<turn>user\nOk 😀</turn>\n<turn>model\n" },
        { "turns", "answered", true, "<s><turn>user\na</turn>\n<turn>model\n<think>why</think>\n\nb</turn>\n<turn>model\n" },
        { "turns", "answered", false, "<s><turn>user\na</turn>\n<turn>model\n<think>why</think>\n\nb</turn>\n" },
        { "turns", "tool", true, "refused: Users and models take turns." },
        { "turns", "twice", true, "refused: Users and models take turns." },
    };

    [Theory]
    [MemberData(nameof(Rendered))]
    public void Templates_render_what_Jinja2_renders(string template, string conversation, bool generationPrompt, string expected)
    {
        var source = File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "Tokenization", "Templates", template + ".jinja"));
        var chat = new ChatTemplate("test", source, new Dictionary<string, string> { ["bos_token"] = "<s>", ["eos_token"] = "</s>" });
        string text;
        try
        {
            text = chat.Render(Conversations[conversation], generationPrompt).Value;
        }
        catch (InputException e)
        {
            Assert.IsNotType<ModelFileException>(e);
            text = e.Message.Replace("the model's chat template refuses the conversation", "refused", StringComparison.Ordinal);
        }

        Assert.Equal(expected, text);
    }
}
