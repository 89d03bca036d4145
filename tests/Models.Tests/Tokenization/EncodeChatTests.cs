using CsCheck;
using Xunit;

namespace LowLevelSpec.Models.Tests.Tokenization;

public class EncodeChatTests
{
    private const string ChatMl = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

    // Templates that put the content next to pieces of control tokens, or change it on the way.
    public static TheoryData<string> Templates => new()
    {
        ChatMl,
        "{% for m in messages %}<|im_start|>{{ m.role }} {{ m.content | trim }}<|im_end|>{% endfor %}",
        "{% for m in messages %}<|{{ m.content }}{{ m.content }}|>{{ m.content }}<|im_end|>{% endfor %}",
        "{% for m in messages %}{{ m.content.replace('_', '') }}{{ m.content.split('|') | join('|') }}{{ m.content[1:] }}{{ m.content | upper | lower }}<|im_end|>{% endfor %}",
        "{% for m in messages %}{{ m.content | tojson }}{{ m | tojson }}{{ messages }}{{ [m.content] | string }}{{ '<|im_end|>' }}{% endfor %}",
        "{% set ns = namespace(all='') %}{% for m in messages %}{% set ns.all = ns.all ~ m.content %}{% endfor %}{{ ns.all }}<|im_end|>",
        "{% macro show(x) %}<{{ x }}>{% endmacro %}{% for m in messages %}{{ show(m.content) }}{% set c %}{{ m.content }}{% endset %}{{ c | indent(2) }}{{ c | title }}<|im_end|>{% endfor %}",
        "{% for m in messages %}{% for c in m.content %}{{ c }}{% endfor %}{{ m.content[::-1][::-1] }}{{ m.content | reverse | reverse }}{{ {m.content: 1} | dictsort }}{{ {m.content: 1} | list | first }}<|im_end|>{% endfor %}",
        "{% for m in messages %}{{ '%s' | format(m.content) }}{{ '{}' }}{{ m.content | e }}{{ m.content.splitlines() | join }}{{ m.content * 2 }}<|im_end|>{% endfor %}",
    };

    private static readonly Gen<string> Content = Gen.OneOf(
        "<|im_start|>", "<|im_end|>", "im_start|>", "im_end", "|>", "<|", "<", "im_", "end|>", "end", "_", " ", "\n", "hello", "é", "😀", "<tool>", "<|end|>", "\uFDD0", "\"", "\\", "<|im_<|im_end|>end|>", "<|IM_END|>")
        .Array[0, 8].Select(string.Concat);

    [Theory]
    [MemberData(nameof(Templates))]
    public void Contents_never_become_control_tokens(string template)
    {
        var tokenizer = TokenizerFixtures.Tiny(template: template);
        Gen.Select(Content, Content).Sample((first, second) =>
        {
            ChatMessage[] messages = [new("user", first), new("assistant", second)];
            var expected = tokenizer.EncodeChat([new("user", "x"), new("assistant", "x")]).Where(tokenizer.IsSpecial);
            var ids = tokenizer.EncodeChat(messages);
            return ids.Where(tokenizer.IsSpecial).SequenceEqual(expected) && tokenizer.Decode(ids) == tokenizer.RenderChat(messages);
        });
    }

    [Fact]
    public void Roles_never_become_control_tokens()
    {
        var tokenizer = TokenizerFixtures.Tiny(template: ChatMl);
        var ids = tokenizer.EncodeChat([new("user<|im_end|>", "x")]);
        Assert.Equal(3, ids.Count(tokenizer.IsSpecial));
        Assert.Equal(tokenizer.RenderChat([new("user<|im_end|>", "x")]), tokenizer.Decode(ids));
    }

    [Theory]
    [InlineData("{{ '<|' + messages[0].content }}", "im_start|>")]
    [InlineData("{{ messages[0].content + '|>' }}", "<|im_start")]
    [InlineData("<|im_start{{ messages[0].content }}", "|>")]
    [InlineData("<|im_start|{{ messages[0].content }}", ">")]
    [InlineData("{{ messages[0].content }}|im_start|>", "<")]
    [InlineData("<|{{ messages[0].content }}|>", "im_start")]
    [InlineData("<|im{{ messages[0].content | trim }}start|>", " _ ")]
    [InlineData("{{ messages[0].role }}{{ messages[0].content }}", "_start|>")]
    public void A_control_token_made_half_of_content_stays_text(string template, string content)
    {
        var tokenizer = TokenizerFixtures.Tiny(template: template);
        ChatMessage[] messages = [new("<|im", content)];
        Assert.Contains("<|im_start|>", tokenizer.RenderChat(messages), StringComparison.Ordinal);
        Assert.Equal(tokenizer.Encode(tokenizer.RenderChat(messages)), tokenizer.EncodeChat(messages));
    }

    [Fact]
    public void A_control_token_of_the_template_survives_beside_a_longer_one_made_with_content()
    {
        var tokenizer = TokenizerFixtures.Tiny(
            json => json["added_tokens"]!.AsArray().Add((System.Text.Json.Nodes.JsonNode)TokenizerFixtures.Added(999, "<|im_end|>!", true)), "<|im_end|>{{ messages[0].content }}");
        Assert.Equal([tokenizer.FindToken("<|im_end|>")!.Value, tokenizer.FindToken("!")!.Value], tokenizer.EncodeChat([new("user", "!")]));
    }

    [Fact]
    public void Without_control_tokens_in_contents_ids_are_those_of_the_text()
    {
        var tokenizer = TokenizerFixtures.Tiny(template: ChatMl);
        TokenizerPropertyTests.Text.Where(t => !t.Contains("<|", StringComparison.Ordinal) && !t.Contains("|>", StringComparison.Ordinal)).Sample(text =>
        {
            ChatMessage[] messages = [new("user", text), new("assistant", "ok")];
            return tokenizer.EncodeChat(messages).SequenceEqual(tokenizer.Encode(tokenizer.RenderChat(messages), allowSpecial: true));
        });
    }

    [Fact]
    public void Lone_surrogates_in_contents_do_not_move_anything()
    {
        var tokenizer = TokenizerFixtures.Tiny(template: ChatMl);
        var ids = tokenizer.EncodeChat([new("user", "\uD800<|im_end|>\uDC00")], addGenerationPrompt: false);
        Assert.Equal(2, ids.Count(tokenizer.IsSpecial));
        Assert.Equal("<|im_start|>user\n\uFFFD<|im_end|>\uFFFD<|im_end|>\n", tokenizer.Decode(ids));
    }

    [Fact]
    public void A_model_without_a_template_says_so()
    {
        var tokenizer = TokenizerFixtures.Tiny();
        Assert.False(tokenizer.HasChatTemplate);
        Assert.Contains("no chat template", Assert.Throws<InputException>(() => tokenizer.EncodeChat([new("user", "x")])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_broken_template_spoils_only_chats_and_names_file_and_line()
    {
        using var folder = TokenizerFixtures.TinyFolder(template: "\n{% nonsense %}");
        var tokenizer = Tokenizer.Open(folder.Path)!;
        Assert.NotEmpty(tokenizer.Encode("hello"));
        var failure = Assert.Throws<ModelFileException>(() => tokenizer.RenderChat([new("user", "x")]));
        Assert.EndsWith("tokenizer_config.json", failure.FilePath, StringComparison.Ordinal);
        Assert.Contains("line 2", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_template_may_be_a_list_or_a_file()
    {
        using var folder = TokenizerFixtures.TinyFolder();
        folder.Write("tokenizer_config.json", """{"chat_template": [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]}""");
        Assert.Equal("D", Tokenizer.Open(folder.Path)!.RenderChat([]));
        folder.Write("chat_template.jinja", "F\n");
        Assert.Equal("F", Tokenizer.Open(folder.Path)!.RenderChat([]));
    }
}
