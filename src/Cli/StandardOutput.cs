using System.Text;
using LowLevelSpec.Models;
using Microsoft.Win32.SafeHandles;

namespace LowLevelSpec.Cli;

/// <summary>The reader of standard output has gone (<c>llspec ... | head</c>): nobody is left to write for.</summary>
internal sealed class BrokenPipeException(IOException inner) : Exception("the reader of standard output has gone", inner);

/// <summary>Opens standard output so that a reader's going is noticed: Console.Out swallows it, and the work would go on for nobody.</summary>
internal static class StandardOutput
{
    private static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false);

    /// <summary>A writer that flushes each write.</summary>
    public static TextWriter Open()
    {
        // Only a pipe can break. FileStream must not have seekable files: it writes at offsets of its own and would
        // overwrite what others append to the same file.
        Stream stream = Console.OpenStandardOutput();
        if (!OperatingSystem.IsWindows() && Console.IsOutputRedirected)
        {
            FileStream raw = new(new SafeFileHandle(1, ownsHandle: false), FileAccess.Write, bufferSize: 0);
            stream = raw.CanSeek ? stream : raw;
        }

        return new StreamWriter(new TellingStream(stream), Utf8) { AutoFlush = true };
    }

    /// <summary>Tells a reader's going and a full device from other failures.</summary>
    private sealed class TellingStream(Stream inner) : Stream
    {
        /// <summary>EPIPE, the same number on Linux and macOS; .NET hands the raw number over.</summary>
        private const int BrokenPipe = 32;

        public override bool CanRead => false;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => throw new NotSupportedException("standard output has no length");

        public override long Position
        {
            get => throw new NotSupportedException("standard output has no position");
            set => throw new NotSupportedException("standard output has no position");
        }

        public override void Flush()
        {
        }

        public override void Write(ReadOnlySpan<byte> buffer)
        {
            try
            {
                inner.Write(buffer);
            }
            catch (IOException e) when (e.HResult == BrokenPipe)
            {
                throw new BrokenPipeException(e);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw new InputException($"standard output: {FileProblem.Reason(e)}; make room, or send the output elsewhere", e);
            }
        }

        public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException("standard output is not read");

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException("standard output can't seek");

        public override void SetLength(long value) => throw new NotSupportedException("standard output has no length");
    }
}
