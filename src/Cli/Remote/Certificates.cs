using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace LowLevelSpec.Cli.Remote;

/// <summary>Certificates for <c>llspec serve</c>.</summary>
internal static class Certificates
{
    /// <summary>Certificate and key from PEM files.</summary>
    public static X509Certificate2 FromPem(string certificate, string key)
    {
        using X509Certificate2 pem = X509Certificate2.CreateFromPemFile(certificate, key);
        return Usable(pem);
    }

    /// <summary>A certificate of its own for this process, valid for a year; clients trust it by its fingerprint.</summary>
    public static X509Certificate2 SelfSigned()
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        CertificateRequest request = new("CN=llspec", key, HashAlgorithmName.SHA256);
        SubjectAlternativeNameBuilder names = new();
        names.AddDnsName("localhost");
        names.AddDnsName(Environment.MachineName);
        names.AddIpAddress(IPAddress.Loopback);
        names.AddIpAddress(IPAddress.IPv6Loopback);
        request.CertificateExtensions.Add(names.Build());
        DateTimeOffset now = DateTimeOffset.UtcNow;
        using X509Certificate2 made = request.CreateSelfSigned(now.AddDays(-1), now.AddYears(1));
        return Usable(made);
    }

    // TLS on Windows cannot use a key that lives in memory alone; a round trip through PKCS #12 is right everywhere.
    private static X509Certificate2 Usable(X509Certificate2 certificate) => X509CertificateLoader.LoadPkcs12(certificate.Export(X509ContentType.Pkcs12), null);
}
