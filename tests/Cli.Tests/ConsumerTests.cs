using System.Diagnostics;
using System.Text.RegularExpressions;
using LowLevelSpec.Engine;
using Xunit;

namespace LowLevelSpec.Cli.Tests;

/// <summary>The README's program, compiled and run outside the repository against the packages that <c>dotnet pack</c> makes.</summary>
public sealed partial class ConsumerTests
{
    [Fact]
    public void The_readmes_program_builds_against_the_packages_and_runs()
    {
        string repository = Repository();
        string folder = Directory.CreateTempSubdirectory("llspec-consumer-").FullName;
        try
        {
            string packages = Path.Combine(folder, "packages"), app = Path.Combine(folder, "app"), pair = Path.Combine(folder, "pair");
            Directory.CreateDirectory(app);
            foreach (string project in new[] { "Models", "Interop", "Engine" })
            {
                // Its own output folder: the test run itself holds the repository's binaries.
                Run("dotnet", repository, "pack", $"src/{project}/LowLevelSpec.{project}.csproj", "-c", "Release", "--no-build", "-o", packages, "--nologo");
            }

            Match program = CodeBlock().Match(File.ReadAllText(Path.Combine(repository, "README.md")));
            Assert.True(program.Success, "README.md has no C# block");
            Assert.InRange(program.Groups["code"].Value.Trim().Split('\n').Length, 5, 16);
            File.WriteAllText(Path.Combine(app, "Program.cs"), program.Groups["code"].Value);
            File.WriteAllText(Path.Combine(app, "app.csproj"), """
                <Project Sdk="Microsoft.NET.Sdk">
                  <PropertyGroup>
                    <OutputType>Exe</OutputType>
                    <TargetFramework>net10.0</TargetFramework>
                    <ImplicitUsings>enable</ImplicitUsings>
                    <Nullable>enable</Nullable>
                    <TreatWarningsAsErrors>true</TreatWarningsAsErrors>
                    <RestorePackagesPath>../cache</RestorePackagesPath>
                    <RestoreAdditionalProjectSources>../packages</RestoreAdditionalProjectSources>
                  </PropertyGroup>
                  <ItemGroup><PackageReference Include="LowLevelSpec.Engine" Version="0.1.0" /></ItemGroup>
                </Project>
                """);
            TinyPair.Write(pair, 1);
            string output = Run("dotnet", app, "run", "--project", "app.csproj", "--", Path.Combine(pair, "target"), Path.Combine(pair, "moa"));
            Match tau = Tau().Match(output);
            Assert.True(tau.Success, output);
            Assert.InRange(double.Parse(tau.Groups["tau"].Value), 1, 64);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static string Repository()
    {
        for (DirectoryInfo? d = new(AppContext.BaseDirectory); d is not null; d = d.Parent)
        {
            if (File.Exists(Path.Combine(d.FullName, "LowLevelSpec.sln")))
            {
                return d.FullName;
            }
        }

        Assert.Skip("the tests run outside the repository, so there is no README to compile");
        return "";
    }

    private static string Run(string program, string folder, params string[] arguments)
    {
        ProcessStartInfo start = new(program, arguments) { WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false };

        // The test host's own build settings must not leak into the other build.
        foreach (string name in start.Environment.Keys.Where(static k => k.StartsWith("MSBUILD", StringComparison.OrdinalIgnoreCase) && k != "MSBUILDTERMINALLOGGER").ToList())
        {
            start.Environment.Remove(name);
        }

        using Process process = Process.Start(start)!;
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, $"{program} {string.Join(' ', arguments)} ended with {process.ExitCode}:\n{output}\n{error.Result}");
        return output;
    }

    [GeneratedRegex("```csharp\n(?<code>.*?)```", RegexOptions.Singleline | RegexOptions.ExplicitCapture)]
    private static partial Regex CodeBlock();

    [GeneratedRegex(@"tau (?<tau>[0-9.]+), (Stop|Length)", RegexOptions.ExplicitCapture)]
    private static partial Regex Tau();
}
