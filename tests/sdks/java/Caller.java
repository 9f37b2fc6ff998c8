import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.core.util.VersionInfo;
import software.amazon.awssdk.services.sts.StsClient;

/** Calls GetCallerIdentity again and again with one client of the AWS SDK for Java v2. */
public final class Caller {
    public static void main(String[] arguments) throws InterruptedException {
        System.out.println("version " + VersionInfo.SDK_VERSION);
        long pause = (long) (Double.parseDouble(System.getenv("PAUSE")) * 1000);
        try (StsClient client = StsClient.create()) {
            while (true) {
                System.out.println(outcome(client));
                Thread.sleep(pause);
            }
        }
    }

    private static String outcome(StsClient client) {
        try {
            client.getCallerIdentity();
            return "ok";
        } catch (AwsServiceException e) {
            return "refused " + e.awsErrorDetails().errorCode();
        } catch (RuntimeException e) {
            return "failed " + e.toString().replaceAll("\\s+", " ");
        }
    }
}
