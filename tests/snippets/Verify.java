import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.HexFormat;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import static java.nio.charset.StandardCharsets.UTF_8;

/** Checks a player's token. Usage: java Verify.java URL KEY_ID TOKEN   (the secret in the environment: SEAWALL_SECRET) */
class Verify {
    public static void main(String[] args) throws Exception {
        String url = args[0], keyId = args[1], token = args[2], secret = System.getenv("SEAWALL_SECRET");
        String path = "/server/v1/sessions/verify";
        String body = "{\"token\":\"" + token + "\"}";
        String timestamp = Long.toString(System.currentTimeMillis() / 1000);
        byte[] random = new byte[12];
        new SecureRandom().nextBytes(random);
        HexFormat hex = HexFormat.of();
        String nonce = hex.formatHex(random);
        String bodyHash = hex.formatHex(MessageDigest.getInstance("SHA-256").digest(body.getBytes(UTF_8)));
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(secret.getBytes(UTF_8), "HmacSHA256"));
        String signed = String.join("\n", "POST", path, timestamp, nonce, bodyHash);
        String signature = hex.formatHex(mac.doFinal(signed.getBytes(UTF_8)));
        HttpRequest request = HttpRequest.newBuilder(URI.create(url + path)).timeout(Duration.ofSeconds(5))
            .header("Content-Type", "application/json").header("Seawall-Key-Id", keyId)
            .header("Seawall-Timestamp", timestamp).header("Seawall-Nonce", nonce).header("Seawall-Signature", signature)
            .POST(HttpRequest.BodyPublishers.ofString(body)).build();
        System.out.println(HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).body());
    }
}
