namespace LowLevelSpec.Engine.Drafting.Adaptive;

/// <summary>
/// Says whether the drafter's network pays, and when to try it again: rates over the last drafted steps against plain decoding, and an account of
/// seconds won and lost, whose overdraft is a small share of the time that plain decoding would have taken. So a drafter that does not pay costs
/// at most that share, however often it is tried, besides what entering a text takes, which is weighed beforehand. What a step wins is what its tree was expected to commit: what it did commit is one draw of that, and
/// a few unlucky draws would switch off a drafter that pays. What came over what was expected, over many steps and texts, corrects it. Times are in seconds.
/// </summary>
internal sealed class SpeculationBudget
{
    /// <summary>Share of plain decoding's time that trying may cost.</summary>
    private const double Share = 0.015;

    /// <summary>Plain steps whose share is granted in advance.</summary>
    private const int Advance = 64;

    /// <summary>Most plain steps' time that winnings are kept of: gains of long ago do not pay for losses of now.</summary>
    private const double Most = 6;

    /// <summary>Plain steps' time granted where earlier generations have won: a bad start is bad luck there.</summary>
    private const double Trust = 1;

    /// <summary>What a drafted step counts for after one more: the rates are those of the last dozen or so, and of the last hundred or so for tokens that came.</summary>
    private const double Fade = 0.92, LongFade = 0.99;

    /// <summary>Drafting must win this much before it is taken to pay.</summary>
    private const double Worth = 1.02;

    /// <summary>Tokens that are taken to have come as expected before a drafter's first one, and fade like those.</summary>
    private const double Doubt = 16;

    /// <summary>Share of the time that a drafter nothing is known about is hoped to save, when it is asked whether entering a text can pay.</summary>
    private const double Hope = 0.15;

    private const int FirstPause = 12, LongestPause = 512, Tries = 3;

    private double _tokens, _seconds, _plain, _credit, _came = Doubt, _expected = Doubt, _won, _spent;
    private int _pause = FirstPause, _waited, _tries;
    private bool _entered;

    /// <summary>Whether the network is in use.</summary>
    public bool IsOn { get; private set; } = true;

    /// <summary>Tokens per second of the drafted steps of late; 0 before the first.</summary>
    public double Rate => _seconds > 0 ? _tokens / _seconds * Belief : 0;

    /// <summary>Drafted steps' speed over plain decoding's; 0 before the first.</summary>
    public double Ratio => _plain > 0 ? Rate * _plain : 0;

    /// <summary>Speed of all steps with the network, what they took to enter the text included, over plain decoding's; 0 before the first.</summary>
    public double Net => _spent > 0 ? _won / _spent : 0;

    /// <summary>Tokens that came and that were expected, older ones faded: for the next generation to begin with.</summary>
    public (double Came, double Expected) Evidence => (_came, _expected);

    /// <summary>What an expected token counts for.</summary>
    private double Belief => _came / _expected;

    /// <summary>Starts a generation.</summary>
    /// <param name="plain">Of a plain step.</param>
    /// <param name="steps">Plain steps that it can take at most.</param>
    /// <param name="ratio">Speed of drafted steps over plain ones in earlier generations; 0 = not known.</param>
    /// <param name="on">Whether to begin with the network.</param>
    /// <param name="evidence"><see cref="Evidence"/> of earlier generations; zeros = none.</param>
    public void Start(double plain, int steps, double ratio, bool on, (double Came, double Expected) evidence = default)
    {
        _plain = plain;
        _credit = (Share * plain * Math.Min(steps, Advance)) + (ratio >= Worth ? Trust * plain : 0);
        IsOn = on;
        (_pause, _waited, _tries, _entered) = (FirstPause, 0, 0, false);
        (_came, _expected) = evidence.Expected > 0 ? evidence : (Doubt, Doubt);
        (_won, _spent) = (0, 0);
        (_seconds, _tokens) = ratio > 0 ? (4 * plain, 4 * ratio / Belief) : (0, 0);
    }

    /// <summary>Whether the next step drafts with the network.</summary>
    /// <param name="behind">What the drafter needs to take in first, beyond the step's own token.</param>
    /// <param name="left">Tokens that the text can still get.</param>
    public bool Next(double behind, int left)
    {
        // Half of what is left: texts end sooner than they may.
        double share = Ratio == 0 ? Hope : Math.Max(1 - (1 / Worth), 1 - (1 / Ratio));
        if (behind > 0 && behind > 0.5 * left * _plain * share)
        {
            return false;
        }

        if (IsOn)
        {
            return true;
        }

        double loss = behind + (Rate > 0 ? Tries * Math.Max(0, (1 / Rate) - _plain) : _plain);
        if (_waited < _pause || _credit < loss)
        {
            return false;
        }

        (IsOn, _tries) = (true, 0);
        return true;
    }

    /// <summary>A step without the network.</summary>
    /// <param name="plain">Of a plain step, as far as is known.</param>
    /// <param name="tokens">What it committed.</param>
    public void Plain(double plain, int tokens)
    {
        _plain = plain;
        _waited += tokens;
        Grant(Share * plain * tokens);
    }

    /// <summary>A step with the network that first took in a text, or what of it had been left out.</summary>
    /// <param name="plain">Of a plain step, as far as is known.</param>
    /// <param name="tokens">What it committed.</param>
    /// <param name="seconds">What it took in all.</param>
    public void Entered(double plain, int tokens, double seconds)
    {
        // The first time it was weighed against all of the text; it is spent, and says nothing about the steps that follow.
        _plain = plain;
        Grant((Share * plain * tokens) + (_entered ? (plain * tokens) - seconds : 0));
        _entered = true;
        Count(plain * tokens, seconds);
        if (_credit < 0)
        {
            SwitchOff();
        }
    }

    /// <summary>A step with the network.</summary>
    /// <param name="plain">Of a plain step, as far as is known.</param>
    /// <param name="expected">Tokens that it was expected to commit, from the tree that it verified.</param>
    /// <param name="tokens">What it committed.</param>
    /// <param name="seconds">What it took in all.</param>
    public void Drafted(double plain, double expected, int tokens, double seconds)
    {
        _plain = plain;
        (_tokens, _seconds) = ((_tokens * Fade) + expected, (_seconds * Fade) + seconds);
        (_came, _expected) = ((_came * LongFade) + tokens, (_expected * LongFade) + expected);
        Grant((Share * plain * tokens) + (plain * expected * Belief) - seconds);
        Count(plain * expected * Belief, seconds);
        _tries++;
        bool pays = Ratio >= Worth;
        if (pays && _tries >= Tries)
        {
            _pause = FirstPause;
        }
        else if (_credit < 0 || (!pays && _tries >= Tries))
        {
            SwitchOff();
        }
    }

    private void SwitchOff()
    {
        IsOn = false;
        (_waited, _tries) = (0, 0);
        _pause = Math.Min(LongestPause, _pause * 2);
    }

    private void Count(double won, double seconds) => (_won, _spent) = (_won + won, _spent + seconds);

    private void Grant(double seconds) => _credit = Math.Min(_credit + seconds, Most * _plain);
}
